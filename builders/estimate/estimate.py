"""The estimate of a build: what there is, what is to do, and what that takes, as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from builders.compute.backend import default_backend
from builders.config import BuildConfig
from builders.estimate.calibration import Speed, Work, calibrate, calibrate_card, work_of
from builders.estimate.image_counts import image_counts
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.run.workspace import Workspace
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest, PopulationEntry
from nws_data.format.plan import plan_differences
from nws_data.machine import usable_cores
from nws_data.space.architecture import Architecture
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.write.planned_shards import planned_shards
from nws_data.write.writer import check_appendable

MEAN_EPOCHS = 50.0
"""Epochs of a training on average, where the cap does not bound them.

The design of this dataset counts 2.9e10 training images x models for the paper's 16,000 trainings, whose epochs have 35,800
images on average: 50.6 epochs each. No full-size population has been trained yet.
"""


@dataclass(frozen=True)
class PopulationEstimate:
    """One population."""

    n_trainings: int  # as asked for
    n_there: int  # in shards, or finished and waiting for them
    work: Work  # of those to train
    wall_s: float | None  # until the last worker has ended; None without calibration
    n_shards: int  # in the end
    nbytes: int  # of all shards in the end
    staging_bytes: int  # most that finished trainings take beside the shards


@dataclass(frozen=True)
class Estimate:
    """What a build will cost."""

    populations: dict[str, PopulationEstimate]
    epochs: float  # assumed, of a training on average
    speed: Speed | None  # None without calibration
    disk_bytes: int  # of the dataset in the end
    images_bytes: int

    @property
    def wall_s(self) -> float | None:
        """Seconds of the whole build, None without calibration."""
        return sum(item.wall_s or 0.0 for item in self.populations.values()) if self.speed else None


def estimate(config: BuildConfig, *, epochs: float | None = None, seconds: float | None = 20.0) -> Estimate:
    """Estimate a build; nothing is written.

    ``epochs`` are those of a training on average, by default :data:`MEAN_EPOCHS` or the cap if it is lower; ``seconds`` is
    how long to calibrate, None does not.

    Raises:
        BuildError: what the build itself would refuse before training: options, images, a folder of something else.
        KeyboardInterrupt: Ctrl-C.
    """
    counts = {item.name: item for item in image_counts(config.images)}
    mean = min(float(config.epoch_cap), epochs or MEAN_EPOCHS)
    stored, workspace = check_appendable(config.out), Workspace(config.out)
    entries, speed = stored.populations if stored else {}, None
    plans: dict[str, list[PlannedTraining]] = {}
    works: dict[str, dict[PlannedTraining, Work]] = {}
    for name, n in config.trainings.items():
        backend = _checked_backend(config, workspace, stored, list(counts), name)
        plans[name] = list(plan_trainings(name, n, config.seed, list(counts), config.batch_norm))
        waiting = {path.stem for path in workspace.staging.glob(f"{name}-*.safetensors")}
        works[name] = {}
        for planned in plans[name][config.n_stored(stored, name) :]:
            own, batch_size = counts[planned.hyperparameters.dataset], planned.hyperparameters.batch_size
            if planned.id not in waiting:
                works[name][planned] = work_of(planned, mean * own.epoch_images(batch_size), (mean + 1) * own.n_scored)
    everything = {planned: work for part in works.values() for planned, work in part.items()}
    if seconds is not None and everything:
        how = config.precision, backend, seconds
        if config.device == "cpu":
            n_workers, speed = min(config.workers, usable_cores()), calibrate(everything, *how, n_workers=config.workers)
        else:
            n_workers, speed = torch.cuda.device_count(), calibrate_card(everything, *how, device=config.device)
    found = {}
    for name, part in works.items():
        work, wall_s = sum(part.values(), Work()), None
        if speed:
            # A CPU trains one training after another; a card many, none of which makes it wait.
            longest = max((one.cost for one in part.values()), default=0.0) if config.device == "cpu" else 0.0
            wall_s = speed.seconds_per_cost * max(work.cost / n_workers, longest)
        found[name] = _estimated(plans[name], work, wall_s, entries.get(name))
    others = (split for name, entry in entries.items() if name not in found for split in entry.splits.values())
    return Estimate(
        populations=found,
        epochs=mean,
        speed=speed,
        disk_bytes=sum(item.nbytes for item in found.values()) + sum(s.nbytes for split in others for s in split.shards),
        images_bytes=sum(item.nbytes for item in counts.values()),
    )


def _checked_backend(
    config: BuildConfig, workspace: Workspace, stored: Manifest | None, image_sets: list[str], population: str
) -> str:
    known = workspace.recorded_plan(stored, population)
    config = config.continuing((known or {}).get("compute_path"))
    mine = config.identity(()) | {"image_sets": [[name, ""] for name in image_sets]}
    if known:  # without the digests of its images, which are not read here
        known = known | {"image_sets": [[name, ""] for name, _ in known.get("image_sets", ())]}
        if different := plan_differences(known, mine):
            raise BuildError(
                f"population {population} in {config.out} was begun with other options: {'; '.join(different)}. Give those, "
                "or another --out"
            )
    return config.backend or default_backend(config.device)


def _estimated(
    plan: list[PlannedTraining], work: Work, wall_s: float | None, stored: PopulationEntry | None
) -> PopulationEstimate:
    there = stored.splits if stored else {}
    todo = plan[stored.n_trainings if stored else 0 :]
    vectors = [(planned.id, Architecture.of(planned.hyperparameters).n_weights) for planned in todo]
    new = planned_shards(vectors, n_existing={name: len(split.shards) for name, split in there.items()})
    shards = [s.nbytes for split in there.values() for s in split.shards] + [s.nbytes for part in new.values() for s in part]
    return PopulationEstimate(
        n_trainings=len(plan),
        n_there=len(plan) - work.n_trainings,
        work=work,
        wall_s=wall_s,
        n_shards=len(shards),
        nbytes=sum(shards),
        staging_bytes=sum(4 * N_SNAPSHOTS * n_weights for _, n_weights in vectors),
    )
