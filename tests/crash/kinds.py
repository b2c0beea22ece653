"""Kinds of builds, small: what stands before, and the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SEED = 805_699  # that of tests/builders/builds.py
_IMAGES = ["--images", "digits", "--train-images", "120", "--test-images", "50"]
_OPTIONS = [*_IMAGES, "--epoch-cap", "19", "--seed", str(SEED)]
_PRESET = "crash-tests"  # the only way to build both populations by one command


@dataclass(frozen=True)
class Kind:
    """One kind of build. ``before`` are commands that make what the build starts from."""

    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()

    def commands(self, out: Path) -> list[list[str]]:
        """Return the commands before, then the one that is killed and repeated."""
        return [["build", *command, *_OPTIONS, "--out", str(out)] for command in (*self.before, self.command)]


def _population(name: str, n: int, workers: int, *more: str) -> tuple[str, ...]:
    return ("--population", name, "--trainings", str(n), "--workers", str(workers), *more)


_BASE = _population("fixed", 3, 2)

KINDS = {
    "fixed": Kind(_population("fixed", 4, 2)),
    "fixed, 1 worker": Kind(_population("fixed", 4, 1)),
    "random": Kind(_population("random", 3, 2)),
    "both": Kind(("--preset", _PRESET, "--workers", "2")),
    "extension": Kind(_population("fixed", 5, 2), (_BASE,)),
    "second population": Kind(_population("random", 2, 2), (_BASE,)),
    "bfloat16": Kind(_population("fixed", 3, 2, "--precision", "bfloat16")),
    "ray": Kind(_population("fixed", 4, 2, "--engine", "ray")),
}


def add_preset() -> None:
    """Make the preset known to the command line of this process."""
    from builders.config import PRESETS
    from builders.images.prepare import ImageOptions

    PRESETS[_PRESET] = {"trainings": {"fixed": 3, "random": 2}, "images": ImageOptions(sources=("digits",))}
