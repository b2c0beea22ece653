"""Memory for batches that is used again when no tensor of the batch is left.

Fresh memory of many megabytes costs several times more, in page faults and zeroing, than the copy that fills it.
"""

from __future__ import annotations

import math
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = 2  # a training loop still holds one batch while the next is made


class BatchBuffers:
    """Gives out tensors; memory is returned when the last tensor or view of it is gone."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return a float32 tensor of that shape with arbitrary content. It is the caller's alone for as long as the
        tensor, or anything that shares its memory, lives.
        """
        import torch  # not before the first batch: metadata need none

        memory = self._reusable(math.prod(shape))
        # The tensor's storage owns this view, and nothing else does: its end is the end of the batch.
        view = memory[:]
        weakref.finalize(view, _give_back, self._free, memory).atexit = False
        return torch.from_numpy(view).view(shape)

    def _reusable(self, size: int) -> np.ndarray:
        with suppress(IndexError):  # none is left, be it that another thread was faster
            while (memory := self._free.pop()).size != size:
                pass
            return memory
        return np.empty(size, np.float32)


def _give_back(free: list[np.ndarray], memory: np.ndarray) -> None:
    if len(free) < _KEPT:
        free.append(memory)
