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
    """

    def __init__(self, bank: ImageBank, device: torch.device) -> None:
        self.host = bank
        self.device = device
        n_rows = sum(item.n_train + item.n_test for item in bank.sets.values())
        self.images = torch.empty(n_rows, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.labels = torch.empty(n_rows, dtype=torch.int64, device=device)
        self.first_row: dict[tuple[str, str], int] = {}  # of a set and its part
        first = 0
        for name in bank.sets:
            for part in PARTS:
                images, labels = bank.images(name, part), bank.labels(name, part)
                self.first_row[name, part], rows = first, slice(first, first + len(labels))
                for to, chunk in zip(self.images[rows].split(_COPY), images.split(_COPY), strict=True):
                    to.copy_(chunk)
                self.labels[rows] = labels.to(device)
                first = rows.stop
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # fleets read it from streams of their own

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return images uint8 ``(n, 3, 32, 32)`` and labels int64 ``(n,)`` of rows, an integer tensor ``(n,)``."""
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)
