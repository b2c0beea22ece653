"""Tasks and views that differ from the real ones in what a method must not look at, or must follow."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from nws_data.read.dataset import NWSDataset
from nws_data.read.views import FixedWindows, GlobalVectors, Transform, WeightView
from nws_data.space.identity import Side
from nws_data.tasks.task import Task, load_task


class Disguised(Task):
    """A task with exchanged labels on some sides: each class has the next one's, numbers are mirrored.

    A method that learns from the labels is then wrong wherever it was right, one that sees the answers is not. ``columns``
    exchanges the target's column too, so that nothing tells the truth.
    """

    def __init__(self, name: str, root: Path, sides: Collection[str], columns: bool = False) -> None:
        self.__dict__ |= vars(load_task(name, root))
        self._sides, self._columns = sides, columns

    def view(self, side: Side, fixed: bool | None = None, *, transform: Transform | None = None) -> WeightView:
        """Return a side's items; see :meth:`Task.view`."""
        view = super().view(side, fixed, transform=transform)
        if side not in self._sides:
            return view
        labels = view.row_labels
        exchanged = labels.min() + labels.max() - labels if self.classes is None else (labels + 1) % self.n_classes
        view = view.with_row_labels(exchanged)
        if self._columns:
            values = exchanged.numpy() if self.classes is None else np.array(self.classes)[exchanged]
            data = view.data
            columns = {name: data[name] for name in data.columns} | {self.target: values.astype(data[self.target].dtype)}
            view.data = NWSDataset(data.root, data.manifest, columns, data.store, data.shard_index, data.value_offset)
        return view


def chosen_vectors(task: Task, rows: np.ndarray) -> tuple[WeightView, np.ndarray]:
    """Return the test items of some vectors, by their rows int ``(n,)``, in this order, and their places among all."""
    test, spec = task.test, task.spec
    data = test.data.take(rows)
    if spec.length is None or spec.family.part is None:
        view: WeightView = GlobalVectors(data, target=task.target)
    else:
        view = FixedWindows(data, spec.length, spec.family.part, target=task.target)
    items = rows[:, None] * test.per_vector + np.arange(test.per_vector)
    return view.with_row_labels(test.row_labels[torch.from_numpy(rows)]), items.ravel()
