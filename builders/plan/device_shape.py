"""What the members of a device fleet have in common, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass

from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters

_IMAGES_FIXED = 4096
_SLOTS_RANDOM = 8


@dataclass(frozen=True)
class DeviceShape:
    """What the members of a device fleet have in common; the rest, the activation included, is data of the slot."""

    architecture: Architecture
    batch_size: int

    @classmethod
    def of(cls, hyperparameters: HyperParameters) -> DeviceShape:
        """Return the shape that a training needs."""
        return cls(Architecture.of(hyperparameters), hyperparameters.batch_size)

    @property
    def slots(self) -> int:
        """Members of a fleet; a function of the shape alone, since a fleet's size may show in the last bits.

        The fixed architecture has hundreds of trainings of each batch size and fills the card by itself; of any other
        the paper's dataset has 13 on average, and several small fleets run at once.
        """
        return _IMAGES_FIXED // self.batch_size if self.architecture.is_fixed else _SLOTS_RANDOM
