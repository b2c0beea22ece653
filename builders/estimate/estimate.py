"""The whole estimate of a build: what there is, what is to do, and what that takes, as data."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builders.compute.backend import default_backend
from builders.config import BuildConfig
from builders.estimate.disk import bytes_of_others, shards_to_be, size_of, staging_bytes, tiers_of, trainings_in
from builders.estimate.image_counts import ImageCounts, image_counts
from builders.estimate.speed import Speed, calibrate
from builders.estimate.work import Work, assumed_epochs, total, work_of
from builders.plan.jobs import make_jobs
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.run.workspace import Workspace
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest, PopulationEntry
from nws_data.format.plan import plan_differences
from nws_data.write.writer import check_appendable


@dataclass(frozen=True)
class TierEstimate:
    """One tier of a population."""

    n_shards: int
    nbytes: int  # of its shards
    work: Work  # of training all of it


@dataclass(frozen=True)
class PopulationEstimate:
    """One population."""

    n_trainings: int  # as asked for
    n_there: int  # in shards, or finished and waiting for them
    work: Work  # of those to train
    core_s: float | None  # processor time of that work; None without calibration
    wall_s: float | None  # until the last worker has ended
    n_shards: int  # in the end
    nbytes: int  # of all shards in the end
    tiers: dict[str, TierEstimate]
    image_sets: dict[str, Work]  # of those to train


@dataclass(frozen=True)
class Estimate:
    """What a build will cost."""

    populations: dict[str, PopulationEstimate]
    image_sets: list[ImageCounts]
    epochs: float  # assumed, of a training on average
    epoch_cap: int
    precision: str
    n_workers: int
    speed: Speed | None  # None without calibration
    disk_bytes: int  # in the end
    staging_bytes: int  # most that finished trainings take beside the shards
    images_bytes: int

    @property
    def wall_s(self) -> float | None:
        """Seconds of the whole build, None without calibration."""
        return sum(item.wall_s or 0.0 for item in self.populations.values()) if self.speed else None


@dataclass(frozen=True)
class _Population:
    """One population on the way to its estimate."""

    plan: list[PlannedTraining]
    todo: list[PlannedTraining]
    stored: PopulationEntry | None
    backend: str


def estimate(config: BuildConfig, *, epochs: float | None = None, seconds: float | None = 20.0) -> Estimate:
    """Estimate a build; nothing is written.

    Args:
        config: the build.
        epochs: of a training on average; None takes the assumption in ``work.py``.
        seconds: how long to calibrate; None does not.

    Raises:
        BuildError: what the build itself would refuse before training: options, images, a folder of something else.
        KeyboardInterrupt: Ctrl-C.
    """
    counts = {item.name: item for item in image_counts(config.images)}
    mean = assumed_epochs(config.epoch_cap, epochs)
    stored, workspace = check_appendable(config.out), Workspace(config.out)
    found = {name: _population(config, workspace, stored, list(counts), name, n) for name, n in config.trainings.items()}
    works = {p: work_of(p, counts[p.hyperparameters.dataset], mean) for item in found.values() for p in item.plan}
    speed = None
    if seconds is not None and any(item.todo for item in found.values()):
        todo = {name: {planned: works[planned] for planned in item.todo} for name, item in found.items()}
        backend = next(item.backend for item in found.values() if item.todo)
        speed = calibrate(todo, precision=config.precision, backend=backend, n_workers=config.workers, seconds=seconds)
    populations = {name: _estimated(name, item, works, speed, config.workers) for name, item in found.items()}
    new = (item.plan[item.stored.n_trainings if item.stored else 0 :] for item in found.values())
    return Estimate(
        populations=populations,
        image_sets=list(counts.values()),
        epochs=mean,
        epoch_cap=config.epoch_cap,
        precision=config.precision,
        n_workers=config.workers,
        speed=speed,
        disk_bytes=sum(item.nbytes for item in populations.values()) + bytes_of_others(stored, list(populations)),
        staging_bytes=max(map(staging_bytes, new)),
        images_bytes=sum(item.nbytes for item in counts.values()),
    )


def _population(
    config: BuildConfig, workspace: Workspace, stored: Manifest | None, image_sets: Sequence[str], population: str, n: int
) -> _Population:
    """Return what is planned and what of it is left; raises ``BuildError`` as the build would."""
    config = config.continuing(workspace.compute_path_of(stored, population))
    entry = stored.populations.get(population) if stored else None
    n_stored = entry.n_trainings if entry else 0
    if n < n_stored:
        raise BuildError(
            f"{config.out} holds {n_stored} trainings of {population} already, more than the {n} asked for; give more, or "
            "another --out"
        )
    known = entry.plan if entry else workspace.claimed_plan(population)
    mine = config.identity(()) | {"image_sets": [[name, ""] for name in image_sets]}
    if known:  # without the digests of its images, which are not read here
        known = {**known, "image_sets": [[name, ""] for name, _ in known.get("image_sets", ())]}
    if known and (different := plan_differences(known, mine)):
        begun = "was built" if entry else f"was begun in {workspace.folder}"
        raise BuildError(
            f"population {population} {begun} with other options: {'; '.join(different)}. Give those, or another --out"
        )
    plan = list(plan_trainings(population, n, config.seed, image_sets, config.batch_norm))
    staged = {path.stem for path in workspace.staging.glob(f"{population}-*.safetensors")}
    todo = [planned for planned in plan[n_stored:] if planned.id not in staged]
    return _Population(plan, todo, entry, config.backend or default_backend(config.device))


def _estimated(
    population: str, item: _Population, works: Mapping[PlannedTraining, Work], speed: Speed | None, n_workers: int
) -> PopulationEstimate:
    """Return the estimate of one population, with times where there is a speed."""
    shards = shards_to_be(item.plan, item.stored)
    by_set: dict[str, Work] = {}
    for planned in item.todo:
        name = planned.hyperparameters.dataset
        by_set[name] = by_set.get(name, Work()) + works[planned]
    work = total(by_set.values())
    core_s = wall_s = None
    if speed is not None:
        core_s = speed.seconds(population, work)
        wall_s = _wall_s(item, works, core_s / (work.cost or 1.0), n_workers) + speed.start_s * bool(item.todo)
    n_shards, nbytes = size_of(shards)
    return PopulationEstimate(
        n_trainings=len(item.plan),
        n_there=len(item.plan) - len(item.todo),
        work=work,
        core_s=core_s,
        wall_s=wall_s,
        n_shards=n_shards,
        nbytes=nbytes,
        tiers={
            name: TierEstimate(*size_of(taken), total(works[planned] for planned in trainings_in(taken, item.plan)))
            for name, taken in tiers_of(shards).items()
        },
        image_sets=dict(sorted(by_set.items())),
    )


def _wall_s(item: _Population, works: Mapping[PlannedTraining, Work], seconds_per_cost: float, n_workers: int) -> float:
    """Return when the last worker ends that takes job after job, as the engine hands them out."""
    free_s = [0.0] * n_workers
    for job in make_jobs(item.todo):
        job_s = seconds_per_cost * total(works[planned] for planned in job.trainings).cost
        heapq.heappush(free_s, heapq.heappop(free_s) + job_s)
    return max(free_s)
