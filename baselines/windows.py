"""Trees on the statistics of :mod:`baselines.window_statistics`, of a window or of the ten of a vector together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.method import choice, item_length, positive
from baselines.tabular import TabularMethod
from nws_data.arguments import whole_number

if TYPE_CHECKING:
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task

_MISSING = -1000.0
"""In place of NaN: below every logarithm, so that one split tells windows without norm vectors."""
_LARGEST = 1e30
"""Statistics of diverged networks are cut there, since trees read float32."""


class WindowTrees(TabularMethod):
    """Extremely randomised trees on window statistics, fitted on the official ten windows of each vector.

    On vote tasks, which ask for vectors, a row of the table is a vector: mean, standard deviation, smallest and largest of
    each statistic over its windows, whose order does not count; all its windows get the same scores.

    Args:
        seed: of the trees.
        trees: how many.
        leaf: training rows that a leaf holds at least.
        share: of the statistics, those that each split looks at.
        pool: see a vector's windows together on vote tasks; else each alone, and the task takes the mean of the scores.
        without: a group of statistics to leave out, such as ``"norms"``, to see what it gives.
        cache: keep statistics in the user's cache.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        trees: int = 200,
        leaf: int = 5,
        share: float = 0.2,
        pool: bool = True,
        without: str | None = None,
        cache: bool = True,
    ) -> None:
        from baselines.window_statistics import GROUPS

        super().__init__(seed)
        self.trees, self.leaf = whole_number("option trees", trees, 1), whole_number("option leaf", leaf, 1)
        self.share, self.pool, self.cache = positive("share", share), pool, cache
        self.without = None if without is None else choice("without", without, [group.__name__ for group in GROUPS])
        self._pooled = False

    def _prepare(self, task: Task, view: WeightView) -> None:
        self._pooled = self.pool and task.spec.family.vote

    def _table(self, view: WeightView) -> np.ndarray:
        from baselines.window_statistics import VERSION, statistic_names, window_statistics
        from nws_data.features.extract import item_features

        names = statistic_names(item_length(view))
        table = item_features(view, "statistics", window_statistics, len(names), VERSION, cache=self.cache, progress=True)
        table = table[:, [not name.startswith(f"{self.without}.") for name in names]]
        np.nan_to_num(table, copy=False, nan=_MISSING)
        np.clip(table, -_LARGEST, _LARGEST, out=table)
        if not self._pooled:
            return table
        windows = table.reshape(-1, view.per_vector, table.shape[1])
        pooled = [windows.mean(axis=1), windows.std(axis=1), windows.min(axis=1), windows.max(axis=1)]
        return np.concatenate(pooled, axis=1).repeat(view.per_vector, axis=0)

    def _kept(self, view: WeightView) -> np.ndarray | slice:
        return slice(None, None, view.per_vector if self._pooled else 1)

    def _estimator(self, regression: bool) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        kind = ExtraTreesRegressor if regression else ExtraTreesClassifier
        return kind(self.trees, min_samples_leaf=self.leaf, max_features=self.share, random_state=self.seed)
