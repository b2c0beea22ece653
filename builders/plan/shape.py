"""What trainings that are stepped as one program have in common."""

from __future__ import annotations

from dataclasses import dataclass

from nws_data.space.architecture import Architecture
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
