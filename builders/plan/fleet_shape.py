"""What trainings that are stepped together have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True)
class FleetShape:
    """What the members of a fleet have in common; the rest is data of the slot.

    The activation belongs to it because a mixed one would make every elementwise pass strided on a CPU.
    """

    architecture: Architecture
    batch_size: int
    activation: str

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> FleetShape:
        """Return the shape that a training needs."""
        return cls(Architecture.of(hyperparameters), hyperparameters.batch_size, hyperparameters.activation)

    @property
    def max_members(self) -> int:
        """The fastest size on a CPU: two members, four where the batch is small (activations stay in cache)."""
        return 4 if self.batch_size <= 64 else 2
