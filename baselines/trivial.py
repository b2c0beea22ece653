"""Trivial baselines: predictions without looking at a weight. A method should beat all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.method import Method, item_length
from baselines.shallow import BINNED, Boosting
from baselines.tabular import TabularMethod
from nws_data.space.hyperparameters import COLUMNS

if TYPE_CHECKING:
    from nws_data.read.dataset import NWSDataset
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task


class Majority(Method):
    """Always the most frequent class of the training items, the first of several; for numbers their mean."""

    def draws(self, task: Task) -> bool:
        """Return False."""
        return False

    def fit(self, task: Task) -> None:
        """Count the training labels; see :meth:`Method.fit`."""
        labels, self.length = task.train.labels.numpy(), item_length(task.train)
        if task.kind == "regression":
            self._answer = labels.astype(np.float64).mean()
        else:
            self._answer = np.bincount(labels, minlength=task.n_classes) / len(labels)
        self.n_parameters = int(np.size(self._answer))

    def predict(self, view: WeightView) -> np.ndarray:
        """Return the training labels' shares ``(len(view), n_classes)``, or their mean ``(len(view),)``."""
        self.check_view(view)
        return np.repeat(np.asarray(self._answer)[None], len(view), axis=0)


class _WithoutWeights(TabularMethod):
    """Gradient boosting on what is known of a training but its weights."""

    _undrawn = BINNED

    def _train_view(self, task: Task) -> WeightView:
        return task.train

    def _estimator(self, regression: bool) -> Any:
        return Boosting(self.seed)._estimator(regression)


class HyperParametersOnly(_WithoutWeights):
    """Gradient boosting on all hyper-parameters but the target: no weights, no accuracies, no epochs.

    They are drawn independently of each other, so a hyper-parameter is predicted at chance, unless the selection of
    trainings above an accuracy threshold ties them together. Accuracy and learning rate may well be predicted.
    """

    _target: str | None = None

    def _prepare(self, task: Task, view: WeightView) -> None:
        self._target = task.target

    def _table(self, view: WeightView) -> np.ndarray:
        names = [name for name in COLUMNS if name != self._target]
        return np.concatenate([_columns(view.data, name) for name in names], axis=1)[view.rows]


class LengthOnly(_WithoutWeights):
    """Gradient boosting on the length of the weight vector alone."""

    def _table(self, view: WeightView) -> np.ndarray:
        return view.data["n_weights"].astype(np.float64)[view.rows, None]


def _columns(data: NWSDataset, name: str) -> np.ndarray:
    """Return a hyper-parameter as columns, float64 ``(len(data), k)``: one for numbers, one a value for names."""
    column = data[name]
    if column.dtype.kind in "bif":
        return column.astype(np.float64)[:, None]
    return (column[:, None] == np.array(data.classes(name))).astype(np.float64)
