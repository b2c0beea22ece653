"""Methods that fit an estimator of scikit-learn on a table with one row an item: shared by shallow and trivial baselines."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.method import Method, MethodError

if TYPE_CHECKING:
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task


_MANY_VALUES = 1_000_000


class TabularMethod(Method):
    """Base: a table of each view, an estimator, scores of all classes of the task.

    A class that no training item has gets a score below all others. Targets of regression are standardised for the
    fit, so that options such as a penalty mean the same whatever the target's unit.
    """

    _undrawn: float = 0
    """Up to so many training items the seed changes nothing."""

    _fitted: Any = None
    _n_classes: int | None = None

    def draws(self, task: Task) -> bool:
        """Whether there are more training items than the method takes without drawing; see :meth:`Method.draws`."""
        return len(self._train_view(task)) > self._undrawn

    def fit(self, task: Task) -> None:
        """Fit on the training side.

        Raises:
            MethodError: a task this method has no estimator for, or training items of one class only.
        """
        regression = task.kind == "regression"
        view = self._train_view(task)
        self._prepare(task, view)
        self.new_estimator(regression)  # a task it has none for is refused now, not after the features
        labels = view.labels.numpy()
        if not regression and len(np.unique(labels)) < 2:
            raise MethodError(f"task {task.name}: all training items are of one class; give a task with at least two")
        table, kept = self._table(view), self._kept(view)
        self._n_classes = None if regression else task.n_classes
        self.fit_table(table[kept], labels[kept])
        self.n_parameters = self._count(getattr(self._fitted, "regressor_", self._fitted))

    def training_items(self, task: Task) -> tuple[WeightView, np.ndarray, np.ndarray]:
        """Return the training items, their table ``(n, columns)``, and which of them are fitted on, int64 ``(m,)``."""
        view = self._train_view(task)
        return view, self._table(view), np.arange(len(view))[self._kept(view)]

    @property
    def gives_probabilities(self) -> bool:
        """Whether scores are probabilities; those of support vector machines are distances."""
        return hasattr(self._fitted, "predict_proba")

    def fit_table(self, table: np.ndarray, labels: np.ndarray) -> None:
        """Fit the estimator on rows ``(n, columns)`` with labels ``(n,)``, of the task that :meth:`fit` had."""
        estimator = self.new_estimator(self._n_classes is None)
        with _few_threads(table):
            self._fitted = estimator.fit(table, labels.astype(np.float64) if self._n_classes is None else labels)

    def new_estimator(self, regression: bool) -> Any:
        """Return what is fitted; raises ``MethodError`` where there is none for such tasks."""
        if not regression:
            return self._estimator(False)
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler

        return TransformedTargetRegressor(self._estimator(True), transformer=StandardScaler())

    def predict(self, view: WeightView) -> np.ndarray:
        """Return scores ``(len(view), n_classes)`` or numbers ``(len(view),)``; see :meth:`Method.predict`."""
        if self._fitted is None:
            raise MethodError(f"{type(self).__name__} predicts after fit(task); it was not fitted")
        return self.predict_table(self._table(view))

    def predict_table(self, table: np.ndarray) -> np.ndarray:
        """Return what :meth:`predict` does, of rows ``(n, columns)``."""
        with _few_threads(table):
            if self._n_classes is None:
                return np.asarray(self._fitted.predict(table), np.float64)
            return self._class_scores(table, self._n_classes)

    def _class_scores(self, table: np.ndarray, n_classes: int) -> np.ndarray:
        """Return scores ``(n, n_classes)`` of items ``(n, columns)``."""
        return class_scores(self._fitted, table, n_classes)

    @abstractmethod
    def _estimator(self, regression: bool) -> Any:
        """Return a new estimator; raises ``MethodError`` where there is none for such tasks."""

    @abstractmethod
    def _table(self, view: WeightView) -> np.ndarray:
        """Return float64 ``(len(view), columns)``."""

    def _prepare(self, task: Task, view: WeightView) -> None:
        """Take from the task and its training items what the estimator and :meth:`_table` need."""

    def _train_view(self, task: Task) -> WeightView:
        """Return the items to fit on."""
        return task.train

    def _kept(self, view: WeightView) -> np.ndarray | slice:
        """Return which training items are fitted on."""
        return slice(None)

    def _count(self, fitted: Any) -> int | None:
        """Return the number of fitted values of an estimator, None where the notion is void."""
        return None


def _few_threads(table: np.ndarray) -> AbstractContextManager[Any]:
    """Keep OpenMP to one thread on small tables: results are the same, and threads that wait for each other on busy cores
    take ten times as long.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1 if table.size < _MANY_VALUES else None, "openmp")


def class_scores(estimator: Any, table: np.ndarray, n_classes: int) -> np.ndarray:
    """Return float64 ``(n, n_classes)``, larger where a class is more likely: probabilities, or else distances.

    Args:
        estimator: a fitted classifier of scikit-learn on labels in [0, n_classes), some of which may be missing.
        table: ``(n, columns)``.
        n_classes: of the task.
    """
    if not hasattr(estimator, "predict_proba"):
        return distance_scores(estimator.decision_function(table), estimator.classes_, n_classes)
    scores = np.zeros((len(table), n_classes))
    scores[:, estimator.classes_] = np.asarray(estimator.predict_proba(table), np.float64)
    return scores


def distance_scores(found: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return float64 ``(n, n_classes)`` of distances ``(n, classes)``, of two classes ``(n,)``; a class that is not among
    ``classes`` gets less than all others.
    """
    found = np.asarray(found, np.float64)
    if found.ndim == 1:  # two classes have one distance
        found = np.stack([-found, found], axis=1)
    scores = np.full((len(found), n_classes), found.min() - 1.0)
    scores[:, classes] = found
    return scores


def sampled_items(view: WeightView, n: int, seed: int) -> np.ndarray:
    """Return at most ``n`` items, int64, ascending: those of the smallest SHA-256 of (seed, training, snapshot, window).

    So the choice does not depend on the order of items, and a larger ``n`` keeps those of a smaller one.
    """
    if len(view) <= n:
        return np.arange(len(view))
    rows = view.rows
    names = zip(view.data["training"][rows].tolist(), view.data["snapshot"][rows].tolist(), strict=True)
    keys = (f"{seed}/{training}/{snapshot}/{i % view.per_vector}" for i, (training, snapshot) in enumerate(names))
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    return np.array(sorted(sorted(range(len(digests)), key=digests.__getitem__)[:n]))
