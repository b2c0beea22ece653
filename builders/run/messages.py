"""What workers and engines tell the display of a build. Light on purpose: a node without torch can import it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Images x models trained since the last report of a job, and their operations."""

    n_images: int
    flop: float
    job: str = ""  # Job.name


@dataclass(frozen=True)
class Finished:
    """A training is staged."""

    training: str
    n_epochs: int
    job: str = ""


Message = Progress | Finished | str
"""Text is a line for the user."""
