"""What a build is asked for: one typed configuration, checked once, its identity saved with the dataset."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.compute.backend import BACKENDS, check_arithmetic, default_backend
from builders.compute.compute_path import backend_of, path_of, resolve_device
from builders.images.prepare import ImageOptions
from builders.recipe.stopping import MAX_EPOCHS, MIN_EPOCH_CAP
from nws_data.errors import BuildError, one_of
from nws_data.machine import usable_cores
from nws_data.randomness import GENERATOR
from nws_data.space.hyperparameters import IMAGE_SETS, SAMPLING
from nws_data.space.identity import UNLISTED_FROM, check_population, parse_id, split_of, training_id
from nws_data.space.image_sets import ImageSet

if TYPE_CHECKING:
    from nws_data.format.manifest import Manifest

ENGINES = ("local", "ray")
WORKER_BYTES = 300_000_000
"""What a worker on the CPU takes of its own at most; measured by ``benchmarks/speed/memory.py``."""


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
    device: str = "cpu"  # or "cuda", "auto": see builders/compute/backend.py
    backend: str | None = None  # how the device computes; None: as the trainings that are there already, else its default
    engine: str = "local"  # or "ray": who runs them
    address: str | None = None  # of a Ray cluster, see builders/run/ray_cluster.py
    gpus_per_fleet: float = 1.0  # what a job takes of Ray's GPUs, when it runs on one

    def __post_init__(self) -> None:
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise BuildError(f"--out must be a name in UTF-8, got {os.fsencode(self.out)!r}") from None
        if not self.trainings:
            raise BuildError("nothing to build: give --population and --trainings, or a --preset")
        for population, n in self.trainings.items():
            check_population(population)
            if not 1 <= n <= UNLISTED_FROM:
                raise BuildError(f"--trainings must be in [1, {UNLISTED_FROM:,}], got {n}")
        if self.epoch_cap < MIN_EPOCH_CAP:
            raise BuildError(
                f"--epoch-cap must be at least {MIN_EPOCH_CAP}: 20 snapshots need as many evaluations; got {self.epoch_cap}"
            )
        object.__setattr__(self, "device", resolve_device(self.device))
        check_arithmetic(self.device, self.backend or default_backend(self.device), self.precision)
        if self.workers < 1:
            raise BuildError(f"--workers must be at least 1, got {self.workers}")
        if not 0 <= self.seed < 2**63:
            raise BuildError(f"--seed must be in [0, 2^63), got {self.seed}")
        if self.engine not in ENGINES:
            raise BuildError(f"--engine: {one_of(self.engine, ENGINES)}")
        if self.address is not None and self.engine != "ray":
            raise BuildError(f"--address {self.address} belongs to --engine ray; give both, or neither")
        if not 0 < self.gpus_per_fleet <= 1:
            raise BuildError(f"--gpus-per-fleet must be above 0 and at most 1, got {self.gpus_per_fleet:g}")

    def n_stored(self, stored: Manifest | None, population: str) -> int:
        """Return how many trainings a dataset holds already; raises ``BuildError`` when they are more than asked for, or not
        the first of a plan."""
        if stored is None or population not in stored.populations:
            return 0
        n, splits = stored.populations[population].n_trainings, stored.populations[population].splits
        counts = {name: of_split.n_trainings for name, of_split in splits.items() if of_split.shards}
        last = max((parse_id(of_split.shards[-1].last)[1] for of_split in splits.values() if of_split.shards), default=-1)
        if last >= n or counts != Counter(split_of(training_id(population, i)) for i in range(n)):
            raise BuildError(
                f"{self.out} holds other trainings of {population} than the first {n} of a plan, as a subset does, and is "
                "not extended; give another --out"
            )
        if n > self.trainings[population]:
            raise BuildError(
                f"{self.out} holds {n} trainings of {population} already, more than the {self.trainings[population]} asked "
                "for; give more, or another --out"
            )
        return n

    def continuing(self, recorded_path: str | None) -> BuildConfig:
        """Return the configuration with a backend: the one that was asked for, else that of the recorded compute path if it
        is this device's, else the device's default; raises ``BuildError`` for a path that is not computed any more."""
        if self.backend is not None:
            return self
        backend = backend_of(recorded_path) if recorded_path else None
        if recorded_path and backend is None:
            raise BuildError(
                f"{self.out} has trainings of compute path {recorded_path}, which this version does not compute any more; "
                "build into another --out, or extend it with the version that built it (column nws_version of "
                "metadata/provenance)"
            )
        own = backend is not None and BACKENDS[backend].device == self.device
        return replace(self, backend=backend if own else default_backend(self.device))

    def identity(self, image_sets: tuple[ImageSet, ...]) -> dict[str, Any]:
        """Return everything that decides what a training is, as JSON values: the ``plan`` of FORMAT.md."""
        return {
            "build_seed": self.seed,
            "image_sets": [[item.name, item.digest] for item in image_sets],
            "sampling": SAMPLING,
            "epoch_cap": self.epoch_cap,
            "precision": self.precision,
            "batch_norm": self.batch_norm,
            "compute_path": path_of(self.backend or default_backend(self.device), self.precision),
            "generator": GENERATOR,
        }


PRESETS: dict[str, dict[str, Any]] = {
    # From nothing to a dataset in minutes on two cores: with fewer, the tasks of benchmarks/quickstart.py lack trainings.
    "quickstart": {
        "trainings": {"fixed": 80, "random": 70},
        "images": ImageOptions(sources=("digits",), n_train=440, n_test=200),
        "epoch_cap": 19,
    },
    # The dataset of the paper (Table 2).
    "paper": {"trainings": {"fixed": 3_000, "random": 13_000}, "images": ImageOptions(sources=IMAGE_SETS)},
}
