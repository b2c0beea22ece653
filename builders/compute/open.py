"""Sets a backend up in this process, with the images of a build."""

from __future__ import annotations

from builders.compute.backend import BACKENDS, OpenBackend, implementation
from builders.compute.compute_path import path_of
from builders.compute.single import SingleFleet
from builders.images.bank import ImageBank


def open_backend(name: str, bank: ImageBank, precision: str, device: str = "cpu") -> OpenBackend:
    """Return a backend ready to train on ``"cpu"`` or a card, ``"cuda"``, ``"cuda:1"``, ...; raises ``BuildError`` where it
    cannot compute. The precision is one of the row's, or ``"float64"`` in tests."""
    if BACKENDS[name].device == "cuda":
        from builders.compute.cards.card import open_card

        return open_card(name, bank, precision, device)
    training = implementation(name)
    return OpenBackend(
        bank, lambda shape, *_: SingleFleet(training(shape, precision), bank), precision, path_of(name, precision)
    )
