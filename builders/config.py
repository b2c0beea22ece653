"""What a build is asked for: one typed configuration, checked once, its identity saved with the dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.engine.engines import Engine
from builders.images.prepare import ImageOptions
from builders.training.compute_path import PRECISIONS, compute_path
from builders.training.stopping import MAX_EPOCHS, MIN_EPOCH_CAP
from nws_data.errors import BuildError, one_of
from nws_data.randomness import GENERATOR
from nws_data.space.hyperparameters import IMAGE_SETS, SAMPLING
from nws_data.space.identity import check_population
from nws_data.space.image_sets import ImageSet
from nws_data.storage.shards import MAX_PLAN_INDEX


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """A build's options. Raises ``BuildError`` on a value that is not allowed."""

    out: Path  # the dataset's folder
    trainings: dict[str, int]  # how many of each population, built in this order
    images: ImageOptions
    seed: int = 0  # decides, with population and plan index, everything about a training
    epoch_cap: int = MAX_EPOCHS
    precision: str = "float32"
    batch_norm: bool = True  # off for the ablation of Supplement F.3
    workers: int = field(default_factory=usable_cores)  # one-thread processes
    engine: Engine = field(default_factory=Engine)  # who runs them
    memory: int | None = None  # bytes that all processes on this machine may take; None: most of what is free

    def __post_init__(self) -> None:
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise BuildError(f"--out must be a name in UTF-8, got {os.fsencode(self.out)!r}") from None
        if not self.trainings:
            raise BuildError("nothing to build: give --population and --trainings, or a --preset")
        for population, n in self.trainings.items():
            check_population(population)
            if not 1 <= n <= MAX_PLAN_INDEX + 1:
                raise BuildError(f"--trainings must be in [1, {MAX_PLAN_INDEX + 1:,}], got {n}")
        if self.epoch_cap < MIN_EPOCH_CAP:
            raise BuildError(
                f"--epoch-cap must be at least {MIN_EPOCH_CAP}: 20 snapshots need as many evaluations; got {self.epoch_cap}"
            )
        if self.precision not in PRECISIONS:
            raise BuildError(f"--precision: {one_of(self.precision, PRECISIONS)}")
        if self.workers < 1:
            raise BuildError(f"--workers must be at least 1, got {self.workers}")
        if not 0 <= self.seed < 2**63:
            raise BuildError(f"--seed must be in [0, 2^63), got {self.seed}")

    def identity(self, image_sets: tuple[ImageSet, ...]) -> dict[str, Any]:
        """Return everything that decides what a training is, as JSON values: the ``plan`` of FORMAT.md."""
        return {
            "build_seed": self.seed,
            "image_sets": [[item.name, item.digest] for item in image_sets],
            "sampling": SAMPLING,
            "epoch_cap": self.epoch_cap,
            "precision": self.precision,
            "batch_norm": self.batch_norm,
            "compute_path": compute_path(),
            "generator": GENERATOR,
        }


PRESETS: dict[str, dict[str, Any]] = {
    # From nothing to a dataset in minutes on two cores.
    "quickstart": {
        "trainings": {"fixed": 48, "random": 24},
        "images": ImageOptions(sources=("digits",), n_train=800, n_test=200),
        "epoch_cap": 19,
    },
    # The dataset of the paper (Table 2).
    "paper": {"trainings": {"fixed": 3_000, "random": 13_000}, "images": ImageOptions(sources=IMAGE_SETS)},
}
