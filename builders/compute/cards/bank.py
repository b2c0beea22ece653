"""All images of a build as one uint8 tensor on the device: a batch of any mixture of sets is one gather."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.images.bank import PARTS, ImageBank
from builders.recipe.augmentation import SIDE

_COPY = 8192  # images copied at once


class DeviceBank:
    """Images ``(rows, 3, 32, 32)`` and labels of all sets, training and test parts one after another.

    Gray sets are stored with three equal planes, so that one gather serves a fleet that mixes sets: the five sets of the
    paper take 1 GB.

    Args:
        bank: the build's images.
        device: where to keep them.
    """

    def __init__(self, bank: ImageBank, device: torch.device) -> None:
        self.host = bank
        self.device = device
        n_rows = sum(item.n(part) for item in bank.sets.values() for part in PARTS)
        self.images = torch.empty(n_rows, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.labels = torch.empty(n_rows, dtype=torch.int64, device=device)
        self._first: dict[tuple[str, str], int] = {}
        first = 0
        for item in bank.sets.values():
            for part in PARTS:
                self._first[item.name, part] = first
                first = self._copy(bank.images(item.name, part), bank.labels(item.name, part), first)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # fleets read it from streams of their own

    def _copy(self, images: Tensor, labels: Tensor, first: int) -> int:
        """Copy one part of a set to the rows from ``first`` on; return the row after the last."""
        for start in range(0, len(images), _COPY):
            chunk = images[start : start + _COPY]
            self.images[first + start : first + start + len(chunk)] = chunk.to(self.device)
        self.labels[first : first + len(labels)] = labels.to(self.device)
        return first + len(labels)

    def first_row(self, name: str, part: str) -> int:
        """Return the row of the first image of ``"train"`` or ``"test"`` of a set."""
        self.host[name].n(part)  # refuses unknown names
        return self._first[name, part]

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return images uint8 ``(n, 3, 32, 32)`` and labels int64 ``(n,)`` of rows, an integer tensor ``(n,)``."""
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)
