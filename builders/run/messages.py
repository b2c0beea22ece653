"""What workers and engines tell the display of a build. Light on purpose: a node without torch can import it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Images x models trained since the last report of a run."""

    n_images: int
    flop: float
    run: int = 0  # which run of a job; a job that is tried again gets a new number


@dataclass(frozen=True)
class Finished:
    """A training is staged."""

    training: str
    n_epochs: int
    run: int = 0


@dataclass(frozen=True)
class Ended:
    """Nothing of a run is under way any more; no other message of it follows."""

    run: int
    lost: bool  # its worker died: what it had not finished is trained again


@dataclass(frozen=True)
class Notice:
    """A line for the user."""

    text: str


Message = Progress | Finished | Ended | Notice
