"""Windows of weight vectors of which the kernels alone were left."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nws_data.read.dataset import NWSDataset
from nws_data.read.views import FixedWindows
from nws_data.read.windows import N_OFFICIAL
from nws_data.space.architecture import Architecture, Part


class StrippedWindows(FixedWindows):
    """Fixed windows over what is left of each vector without its biases and batch norm's values.

    The values are taken out, not set to 0: what stood before and after them are neighbours. Windows stand as those of
    :class:`FixedWindows` on the shorter vector; :meth:`starts` are places in it.

    Args:
        data: the selection.
        length: values of a window.
        part: ``"all"``, ``"conv"`` or ``"fc"`` of what is left.
        target: see :class:`WeightView`.
        windows_per_vector: items of each row, side by side.

    Raises ``WindowError`` for a length that the shortest stripped vector does not hold.
    """

    def __init__(
        self,
        data: NWSDataset,
        length: int = 5000,
        part: Part = "all",
        *,
        target: str | None = None,
        windows_per_vector: int = N_OFFICIAL,
    ) -> None:
        self._architectures, self._which = data.architectures()
        self._kept = [_kept(architecture) for architecture in self._architectures]
        super().__init__(data, length, part, target=target, windows_per_vector=windows_per_vector)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        n_conv = [(kept < a.n_weights_conv).sum() for a, kept in zip(self._architectures, self._kept, strict=True)]
        return np.array([len(kept) for kept in self._kept])[self._which], np.array(n_conv)[self._which]

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        found = torch.empty(len(items), self.length)
        for row in np.unique(rows).tolist():
            kept = self.data.vector(row)[self._kept[self._which[row]]]
            for i in np.flatnonzero(rows == row).tolist():
                start = int(self._starts[items[i]])
                found[i] = kept[start : start + self.length]
        return found


def _kept(architecture: Architecture) -> np.ndarray:
    """Return the positions of the kernels, int64, ascending."""
    slices = [layer["kernel"].slice for layer in architecture.layers]
    return np.concatenate([np.arange(s.start, s.stop) for s in slices])
