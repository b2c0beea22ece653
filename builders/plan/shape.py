"""What trainings that are stepped as one program have in common, and what they cost in floating-point operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nws_data.space.architecture import IMAGE_SHAPE, Architecture
from nws_data.space.hyperparameters import HyperParameters

_CARD_IMAGES_FIXED = 4096
_CARD_SLOTS_RANDOM = 16


@dataclass(frozen=True)
class Shape:
    """What the members of a fleet have in common; the rest, the activation included, is data of the slot."""

    architecture: Architecture
    batch_size: int

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> Shape:
        """Return the shape that a training needs."""
        return cls(Architecture.of(hyperparameters), hyperparameters.batch_size)

    @property
    def card_slots(self) -> int:
        """Members of a fleet on a card; no bit depends on it, and idle slots take memory alone.

        The fixed architecture has hundreds of trainings of each batch size and fills the card by itself; of any other
        the paper's dataset has 13 on average, and several small fleets run at once.
        """
        return _CARD_IMAGES_FIXED // self.batch_size if self.architecture.is_fixed else _CARD_SLOTS_RANDOM


def forward_flop(architecture: Architecture) -> int:
    """Return the operations of one image's forward pass: two for each multiply-add of convolutions and matrices."""
    area, flop = math.prod(IMAGE_SHAPE[1:]), 0
    for layer in architecture.layers:
        flop += 2 * math.prod(layer["kernel"].shape) * (area if layer.is_conv else 1)
        area //= 4 if layer.pool_after else 1
    return flop


def training_flop(architecture: Architecture) -> int:
    """Return the operations of training on one image once: forward, and twice that backward."""
    return 3 * forward_flop(architecture)
