"""How long a DMC trains: the paper's lengths and shorter ones, and the sampler that short budgets use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from baselines.dmc.layers import GLOBAL_ABOVE
from nws_data.arguments import whole_number
from nws_data.randomness import Purpose, permutation
from nws_data.read.sampler import EpochSampler
from nws_data.read.views import WeightView


@dataclass(frozen=True)
class Budget:
    """Length of a training."""

    epochs_global: int  # for whole vectors
    epochs_local: int  # for windows
    snapshots_per_epoch: int  # that each weight training shows in an epoch; 0 for all
    batch_size: int  # items of a step

    def epochs(self, length: int) -> int:
        """Return the epochs for inputs of ``length``."""
        return self.epochs_global if length > GLOBAL_ABOVE else self.epochs_local


BUDGETS = {
    "paper": Budget(epochs_global=100, epochs_local=500, snapshots_per_epoch=0, batch_size=64),
    "short": Budget(epochs_global=24, epochs_local=60, snapshots_per_epoch=1, batch_size=16),
}
"""Named budgets. The numbers of a name never change, since results name their budget and equal names are compared as
equals: other numbers get a new name.

``paper`` is Eilertsen et al. 2020, Supplement F.1.

``short`` costs two to six minutes of a core for a hundred trainings. Batches are small because with so few items the
number of steps is what lacks: a step costs in proportion to its items. ``two-core``, which older results name, was the
same in bfloat16.
"""


class RotatingSampler(EpochSampler):
    """Some snapshots of each weight training an epoch, the next ones in the next epoch, in random order.

    As :class:`EpochSampler` a function of (seed, epoch); every item has its turn. ``per_training`` is the number of items of
    each weight training in an epoch, all where it has no more; ``ArgumentError`` below 1.
    """

    def __init__(self, view: WeightView, seed: int = 0, per_training: int = 1) -> None:
        super().__init__(view, seed)
        whole_number("snapshots_per_epoch", per_training, 1)
        _, of = np.unique(view.data["training"][view.rows], return_inverse=True)
        self._items, self._sizes = np.argsort(of, kind="stable"), np.bincount(of)
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._taken = np.minimum(self._sizes, per_training)

    def __len__(self) -> int:
        return int(self._taken.sum())

    def __iter__(self) -> Iterator[int]:
        owner = np.repeat(np.arange(len(self._sizes)), self._taken)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(self._taken) - self._taken, self._taken)
        place = (self.epoch * self._taken[owner] + place) % self._sizes[owner]
        items = self._items[self._firsts[owner] + place]
        return iter(items[permutation(self.seed, Purpose.VIEW_ORDER, self.epoch, len(items)).numpy()].tolist())
