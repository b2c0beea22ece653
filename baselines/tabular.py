"""Methods that fit an estimator of scikit-learn on a table with one row an item: shared by shallow and trivial baselines."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.method import Method, MethodError, item_length

if TYPE_CHECKING:
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task


_MANY_VALUES = 1_000_000


class TabularMethod(Method):
    """Base: a table of each view, an estimator, scores of all classes of the task.

    A class that no training item has gets a score below all others. Targets of regression are standardised for the
    fit, so that options such as a penalty mean the same whatever the target's unit. ``fitted`` and ``n_classes`` (None for
    numbers) are, with ``length``, all that a prediction needs of :meth:`fit`.
    """

    _undrawn: float = 0
    """Up to so many training items the seed changes nothing."""

    fitted: Any = None
    n_classes: int | None = None

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
        self.n_classes, self.length = None if regression else task.n_classes, item_length(view)
        self.fit_table(table[kept], labels[kept])
        self.n_parameters = self._count(getattr(self.fitted, "regressor_", self.fitted))

    def training_items(self, task: Task) -> tuple[WeightView, np.ndarray, np.ndarray]:
        """Return the training items, their table ``(n, columns)``, and which of them are fitted on, int64 ``(m,)``."""
        view = self._train_view(task)
        return view, self._table(view), np.arange(len(view))[self._kept(view)]

    @property
    def gives_probabilities(self) -> bool:
        """Whether scores are probabilities; those of support vector machines are distances."""
        return hasattr(self.fitted, "predict_proba")

    def fit_table(self, table: np.ndarray, labels: np.ndarray) -> None:
        """Fit the estimator on rows ``(n, columns)`` with labels ``(n,)``, of the task that :meth:`fit` had."""
        estimator = self.new_estimator(self.n_classes is None)
        with _few_threads(table):
            self.fitted = estimator.fit(table, labels.astype(np.float64) if self.n_classes is None else labels)

    def new_estimator(self, regression: bool) -> Any:
        """Return what is fitted; raises ``MethodError`` where there is none for such tasks."""
        if not regression:
            return self._estimator(False)
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler

        return TransformedTargetRegressor(self._estimator(True), transformer=StandardScaler())

    def predict(self, view: WeightView) -> np.ndarray:
        """Return scores ``(len(view), n_classes)`` or numbers ``(len(view),)``; see :meth:`Method.predict`."""
        self.check_view(view)
        return self.predict_table(self._table(view))

    def predict_table(self, table: np.ndarray) -> np.ndarray:
        """Return what :meth:`predict` does, of rows ``(n, columns)``: of classes probabilities, or else distances."""
        with _few_threads(table):
            if self.n_classes is None:
                return np.asarray(self.fitted.predict(table), np.float64)
            if self.gives_probabilities:
                found, missing = np.asarray(self.fitted.predict_proba(table), np.float64), 0.0
            else:
                found = np.asarray(self._distances(table), np.float64)
                if found.ndim == 1:  # two classes have one distance
                    found = np.stack([-found, found], axis=1)
                missing = found.min() - 1.0
        scores = np.full((len(found), self.n_classes), missing)
        scores[:, self.fitted.classes_] = found
        return scores

    def _distances(self, table: np.ndarray) -> np.ndarray:
        """Return ``(n, classes of the training items)``, of two classes ``(n,)``."""
        return self.fitted.decision_function(table)

    @abstractmethod
    def _estimator(self, regression: bool) -> Any:
        """Return a new estimator; raises ``MethodError`` where there is none for such tasks."""

    @abstractmethod
    def _table(self, view: WeightView) -> np.ndarray:
        """Return float64 ``(len(view), columns)``."""

    def _prepare(self, task: Task, view: WeightView) -> None:
        """Take from the task and its training items what the estimator and :meth:`_table` need."""

    def _train_view(self, task: Task) -> WeightView:
        """Return the items to fit on: whole vectors, or the official windows."""
        return task.view("train", fixed=True)

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
