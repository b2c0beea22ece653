"""Whole weight vectors with hidden channels and units in random orders: permutation augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nws_data.errors import SelectionError
from nws_data.read.dataset import NWSDataset
from nws_data.read.views import Epochs, GlobalVectors, Transform
from nws_data.space.permutation import augment_permutations


class PermutedVectors(Epochs, GlobalVectors):
    """Whole weight vectors of one architecture, each as another network that computes the same function.

    The order of hidden channels and units is a function of (seed, epoch, item): batch size and worker processes do not
    matter. Call :meth:`set_epoch` before each pass, or use :class:`EpochSampler`; else every epoch sees the orders of
    epoch 0.

    Args:
        data: the selection, of one architecture.
        target: see :class:`WeightView`.
        seed: of the orders, in [0, 2^63).
        transform: see :class:`WeightView`; applied after the permutation.

    Raises:
        SelectionError: several architectures, an unknown target, or an empty selection.
        ArgumentError: a seed out of range.

    Source: Hecht-Nielsen 1990, "On the algebraic structure of feedforward network weight spaces".
    """

    _shown: tuple[str, ...] = ("length", "seed")

    def __init__(
        self, data: NWSDataset, *, target: str | None = None, seed: int = 0, transform: Transform | None = None
    ) -> None:
        super().__init__(data, target=target, transform=transform)
        architectures, _ = data.architectures()
        if len(architectures) > 1:
            raise SelectionError(
                f"permuted vectors are of one architecture, this selection has {len(architectures)}; open fixed"
            )
        (self._architecture,) = architectures
        self._set_seed(seed)

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        vectors: Any = super()._weights(items, rows)
        return augment_permutations(vectors, self._architecture, self.seed, self.epoch, torch.from_numpy(items))
