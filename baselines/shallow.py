"""Shallow methods on statistics features: support vector machines, boosting, logistic and ridge regression.

The features are those of :mod:`nws_data.features`, standardised on the training items and cut to their range.
Windows are fitted and predicted on the official ten of each vector; the paper drew ten at random. Source: Eilertsen et al.
2020, Section 5.2 and Supplement F.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from baselines.method import MethodError, choice, positive
from baselines.tabular import TabularMethod, sampled_items
from nws_data.arguments import whole_number

if TYPE_CHECKING:
    from nws_data.features.extract import Pieces
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task

Features = Literal["vector", "layers", "kernels"]
FEATURES = ("vector", "layers", "kernels")
_KERNEL_VALUES = 2**20
"""Values of the kernel worked out at a time."""

BINNED = 200_000
"""Items that scikit-learn's boosting looks at for its bins: of more it draws so many."""


class FeatureMethod(TabularMethod):
    """Base of methods on statistics features.

    Args:
        seed: of estimators that draw.
        features: ``"vector"``: 16 of the whole item; ``"layers"``: 16 of each tensor of each layer, 480 in the fixed
            architecture; ``"kernels"``: the same of kernels alone, without biases and batch norm's values.
        cache: keep features in the user's cache.
    """

    def __init__(self, seed: int = 0, *, features: Features = "vector", cache: bool = True) -> None:
        super().__init__(seed)
        self.features, self.cache = choice("features", features, FEATURES), cache
        self._pieces: Pieces = "vector" if features == "vector" else "layers"

    def names(self, view: WeightView) -> tuple[str, ...]:
        """Return the features' names."""
        from nws_data.features.extract import feature_names

        names = feature_names(view, self._pieces)
        return tuple(name for name in names if self.features != "kernels" or ".kernel." in name)

    def _table(self, view: WeightView) -> np.ndarray:
        from nws_data.features.extract import feature_names, statistics_features

        table = statistics_features(view, self._pieces, cache=self.cache, progress=True)
        if self.features != "kernels":
            return table
        return table[:, [".kernel." in name for name in feature_names(view, self._pieces)]]


class LinearMethod(FeatureMethod):
    """Base of methods that fit coefficients without drawing."""

    _undrawn = math.inf

    def _count(self, fitted: Any) -> int | None:
        last = fitted[-1]  # of the pipeline
        return int(last.coef_.size + np.size(last.intercept_))


class LinearSvm(LinearMethod):
    """Linear support vector machine, one class versus the rest; for numbers linear support vector regression.

    The problem is solved in its primal form, without drawing. Arguments as in :class:`FeatureMethod`, and:

    Args:
        penalty: C, the weight of training errors against the margin.
        max_iter: steps of the solver.
    """

    def __init__(
        self, seed: int = 0, *, features: Features = "vector", cache: bool = True, penalty: float = 1.0, max_iter: int = 5000
    ) -> None:
        super().__init__(seed, features=features, cache=cache)
        self.penalty, self.max_iter = positive("penalty", penalty), whole_number("option max_iter", max_iter, 1)

    def _estimator(self, regression: bool) -> Any:
        from sklearn.svm import LinearSVC, LinearSVR

        options = {"C": self.penalty, "dual": False, "max_iter": self.max_iter}
        return _scaled(LinearSVR(loss="squared_epsilon_insensitive", **options) if regression else LinearSVC(**options))


class RbfSvm(FeatureMethod):
    """Support vector machine with a Gaussian kernel, one class versus the rest; for numbers support vector regression.

    Time grows with the square of the training items, so at most ``max_items`` are used: those of the smallest SHA-256 of
    seed, training, snapshot and window. 20,000 items of three classes that overlap take one to three minutes on a core.

    Args:
        seed: of the choice of items where there are more.
        features, cache: see :class:`FeatureMethod`.
        penalty: C, the weight of training errors against the margin.
        gamma: of the kernel exp(-gamma |x - y|²); 1 / (number of features) by default.
        max_items: how many training items are used at most.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        features: Features = "vector",
        cache: bool = True,
        penalty: float = 1.0,
        gamma: float | None = None,
        max_items: int = 20_000,
    ) -> None:
        super().__init__(seed, features=features, cache=cache)
        self.penalty = positive("penalty", penalty)
        self.gamma = None if gamma is None else positive("gamma", gamma)
        self._undrawn = self.max_items = whole_number("option max_items", max_items, 1)

    def _estimator(self, regression: bool) -> Any:
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.svm import SVC, SVR

        kernel = {"C": self.penalty, "gamma": "auto" if self.gamma is None else self.gamma, "cache_size": 500}
        return _scaled(SVR(**kernel) if regression else OneVsRestClassifier(SVC(**kernel)))

    def _kept(self, view: WeightView) -> np.ndarray | slice:
        return sampled_items(view, self.max_items, self.seed)

    def _distances(self, table: np.ndarray) -> np.ndarray:
        """Return what ``decision_function`` gives, but the kernel once for all classes, by one product of matrices."""
        scaling, machines = self.fitted[:-1], self.fitted[-1].estimators_
        ids, place = np.unique(np.concatenate([machine.support_ for machine in machines]), return_inverse=True)
        of = np.repeat(np.arange(len(machines)), [len(machine.support_) for machine in machines])
        vectors, weights = np.empty((len(ids), table.shape[1])), np.zeros((len(ids), len(machines)))
        vectors[place] = np.concatenate([machine.support_vectors_ for machine in machines])
        weights[place, of] = np.concatenate([machine.dual_coef_[0] for machine in machines])
        gamma = 1 / table.shape[1] if self.gamma is None else self.gamma
        found = np.empty((len(table), len(machines)))
        step = max(1, _KERNEL_VALUES // len(ids))
        for first in range(0, len(table), step):
            x = scaling.transform(table[first : first + step])
            kernel = (x**2).sum(1)[:, None] + (vectors**2).sum(1)
            kernel -= 2 * x @ vectors.T
            kernel *= -gamma
            found[first : first + step] = np.exp(np.minimum(kernel, 0, out=kernel), out=kernel) @ weights
        found += [machine.intercept_[0] for machine in machines]
        return found[:, 0] if len(machines) == 1 else found


class Boosting(FeatureMethod):
    """Gradient boosting of decision trees on histograms, the strongest simple baseline of the field; all items are fitted.

    Args:
        seed: of scikit-learn's binning, where there are over 200,000 items.
        features, cache: see :class:`FeatureMethod`.
        rounds: of boosting; each fits one tree a class.
        rate: shrinkage of each tree.
    """

    _undrawn = BINNED

    def __init__(
        self, seed: int = 0, *, features: Features = "vector", cache: bool = True, rounds: int = 100, rate: float = 0.1
    ) -> None:
        super().__init__(seed, features=features, cache=cache)
        self.rounds, self.rate = whole_number("option rounds", rounds, 1), positive("rate", rate)

    def _estimator(self, regression: bool) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        return kind(max_iter=self.rounds, learning_rate=self.rate, early_stopping=False, random_state=self.seed)


class Logistic(LinearMethod):
    """Multinomial logistic regression; classification only.

    The solver draws nothing. Arguments as in :class:`FeatureMethod`, and:

    Args:
        penalty: C, the weight of training errors against that of large coefficients.
        max_iter: steps of the solver.
    """

    def __init__(
        self, seed: int = 0, *, features: Features = "vector", cache: bool = True, penalty: float = 1.0, max_iter: int = 2000
    ) -> None:
        super().__init__(seed, features=features, cache=cache)
        self.penalty, self.max_iter = positive("penalty", penalty), whole_number("option max_iter", max_iter, 1)

    def _estimator(self, regression: bool) -> Any:
        from sklearn.linear_model import LogisticRegression

        if regression:
            raise MethodError("logistic regression predicts classes, this task asks for numbers: use ridge-16 or ridge-480")
        return _scaled(LogisticRegression(C=self.penalty, max_iter=self.max_iter))


class Ridge(LinearMethod):
    """Least squares with a quadratic penalty; regression only. Arguments as in :class:`FeatureMethod`, and:

    Args:
        alpha: weight of the penalty; by default the power of ten that is best in five folds over the training
            trainings, of those from 0.01 to 100,000.
    """

    def __init__(
        self, seed: int = 0, *, features: Features = "vector", cache: bool = True, alpha: float | None = None
    ) -> None:
        super().__init__(seed, features=features, cache=cache)
        self.alpha = None if alpha is None else positive("alpha", alpha)
        self._folds: list[tuple[np.ndarray, np.ndarray]] = []

    def _prepare(self, task: Task, view: WeightView) -> None:
        from sklearn.model_selection import GroupKFold

        trainings = view.data["training"][view.rows]
        n_folds = min(5, len(np.unique(trainings)))
        self._folds = list(GroupKFold(n_folds).split(trainings, groups=trainings))

    def _estimator(self, regression: bool) -> Any:
        from sklearn.linear_model import Ridge as RidgeRegression
        from sklearn.linear_model import RidgeCV

        if not regression:
            raise MethodError(
                "ridge regression predicts numbers, this task asks for classes: use logistic-16 or logistic-480"
            )
        if self.alpha is None:
            return _scaled(RidgeCV(10.0 ** np.arange(-2, 6), cv=self._folds))
        return _scaled(RidgeRegression(alpha=self.alpha))


def _scaled(estimator: Any) -> Any:
    """Return the estimator behind a standardisation that is fitted with it; constant features become 0.

    Values outside the range of the training items count as its ends: variances of a diverged network are thousands of
    deviations away, where a linear prediction means nothing.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    return make_pipeline(MinMaxScaler(clip=True), StandardScaler(), estimator)
