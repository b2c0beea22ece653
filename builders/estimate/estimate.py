"""The whole estimate of a build: what there is, what is to do, and what that takes, as data."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from builders.compute.devices import default_backend
from builders.config import BuildConfig
from builders.estimate.calibration import calibrate
from builders.estimate.disk import shards_to_be, tiers_of
from builders.estimate.image_counts import ImageCounts, image_counts
from builders.estimate.speed import Speed, reference_speed
from builders.estimate.work import Work, assumed_epochs, total, work_of
from builders.plan.jobs import Job, make_jobs
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.run.workspace import Workspace
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest, PopulationEntry
from nws_data.format.plan import plan_differences
from nws_data.space.architecture import Architecture
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.write.writer import check_appendable


@dataclass(frozen=True)
class TierEstimate:
    """One tier of a population, and what it takes to train all of it."""

    name: str
    n_trainings: int
    n_shards: int
    nbytes: int  # of its shards
    work: Work


@dataclass(frozen=True)
class PopulationEstimate:
    """One population."""

    population: str
    n_trainings: int  # as asked for
    n_there: int  # in shards, or finished and waiting for them
    work: Work  # of those to train
    wall_s: float | None  # of all workers together, until the last one has ended
    n_shards: int  # in the end
    nbytes: int  # of all shards in the end
    tiers: list[TierEstimate]
    image_sets: dict[str, Work]  # of those to train


@dataclass(frozen=True)
class Estimate:
    """What a build will cost."""

    populations: list[PopulationEstimate]
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
        times = [item.wall_s for item in self.populations]
        return sum(t for t in times if t is not None) if self.speed else None


@dataclass
class _Population:
    """One population on the way to its estimate."""

    name: str
    plan: list[PlannedTraining]
    todo: list[PlannedTraining]
    stored: PopulationEntry | None
    works: dict[str, Work] = field(default_factory=dict)  # of every training of the plan, by id


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
    stored = check_appendable(config.out)
    workspace = Workspace(config.out)
    paths = {name: workspace.compute_path_of(stored, name) for name in config.trainings}
    found = [
        _population(config.continuing(paths[name]), workspace, stored, list(counts), name, n)
        for name, n in config.trainings.items()
    ]
    config = config.continuing(next((paths[item.name] for item in found if item.todo), None))
    for item in found:
        item.works = {p.id: work_of(p, counts[p.hyperparameters.dataset], mean) for p in item.plan}
    todo = [planned for item in found for planned in item.todo]
    speed = None
    if seconds is not None and todo:
        speed = _calibrated(config, found, todo, seconds)
    populations = [_estimated(config, item, speed) for item in found]
    staging, disk = _disk(populations, found, stored)
    return Estimate(
        populations=populations,
        image_sets=list(counts.values()),
        epochs=mean,
        epoch_cap=config.epoch_cap,
        precision=config.precision,
        n_workers=config.workers,
        speed=speed,
        disk_bytes=disk,
        staging_bytes=staging,
        images_bytes=sum(item.nbytes for item in counts.values()),
    )


def _population(
    config: BuildConfig, workspace: Workspace, stored: Manifest | None, image_sets: Sequence[str], population: str, n: int
) -> _Population:
    """Return what is planned and what of it is left; raises ``BuildError`` as the build would."""
    entry = stored.populations.get(population) if stored else None
    n_stored = entry.n_trainings if entry else 0
    if n < n_stored:
        raise BuildError(
            f"{config.out} holds {n_stored} trainings of {population} already, more than the {n} asked for; give more, or "
            "another --out"
        )
    known = entry.plan if entry else workspace.claimed_plan(population)
    if known and (different := plan_differences(_told(known), _told(config.identity(()), image_sets))):
        begun = "was built" if entry else f"was begun in {workspace.folder}"
        raise BuildError(
            f"population {population} {begun} with other options: {'; '.join(different)}. Give those, or another --out"
        )
    plan = list(plan_trainings(population, n, config.seed, image_sets, config.batch_norm))
    staged = {path.stem for path in workspace.staging.glob(f"{population}-*.safetensors")}
    return _Population(population, plan, [p for p in plan[n_stored:] if p.id not in staged], entry)


def _told(plan: Mapping[str, object], image_sets: Sequence[str] | None = None) -> dict[str, object]:
    """Return a plan without the digests of its images, which are not read here."""
    names = image_sets if image_sets is not None else dict(plan.get("image_sets", ()))  # type: ignore[call-overload]
    return {**plan, "image_sets": [[name, ""] for name in names]}


def _calibrated(config: BuildConfig, found: Sequence[_Population], todo: Sequence[PlannedTraining], seconds: float) -> Speed:
    works = {training: work for item in found for training, work in item.works.items()}
    typical = reference_speed(config.precision)

    def cost(planned: PlannedTraining) -> float:
        work = works[planned.id]
        return typical.seconds(planned, work.train_images, work.scored_images)

    backend = config.backend or default_backend(config.device)
    return calibrate(todo, cost, precision=config.precision, backend=backend, n_workers=config.workers, seconds=seconds)


def _estimated(config: BuildConfig, item: _Population, speed: Speed | None) -> PopulationEstimate:
    """Return the estimate of one population, with times where there is a speed."""
    works, backend = item.works, config.backend or default_backend(config.device)
    if speed is not None:
        timed = {p.id: speed.seconds(p, works[p.id].train_images, works[p.id].scored_images) for p in item.plan}
        works = {key: Work(w.n_trainings, w.train_images, w.scored_images, w.flop, timed[key]) for key, w in works.items()}
    shards = shards_to_be(item.plan, item.stored)
    by_set: dict[str, Work] = {}
    for planned in item.todo:
        name = planned.hyperparameters.dataset
        by_set[name] = by_set.get(name, Work()) + works[planned.id]
    flat = [shard for split in shards.values() for shard in split]
    return PopulationEstimate(
        population=item.name,
        n_trainings=len(item.plan),
        n_there=len(item.plan) - len(item.todo),
        work=total(works[planned.id] for planned in item.todo),
        wall_s=_wall_s(make_jobs(item.todo, backend), lambda p: works[p.id].seconds, config.workers, speed.start_s)
        if speed
        else None,
        n_shards=len(flat),
        nbytes=sum(shard.nbytes for shard in flat),
        tiers=[
            TierEstimate(
                tier.name,
                tier.n_trainings,
                tier.n_shards,
                tier.nbytes,
                total(works[planned.id] for planned in item.plan if tier.holds(planned.id)),
            )
            for tier in tiers_of(shards, item.plan)
        ],
        image_sets=dict(sorted(by_set.items())),
    )


def _wall_s(jobs: Sequence[Job], seconds: Callable[[PlannedTraining], float], n_workers: int, start_s: float) -> float:
    """Return when the last worker ends that takes job after job, as the engine hands them out."""
    if not jobs:
        return 0.0
    free_s = [0.0] * n_workers
    for job in jobs:
        heapq.heappush(free_s, heapq.heappop(free_s) + sum(seconds(planned) for planned in job.trainings))
    return start_s + max(free_s)


def _disk(
    populations: Sequence[PopulationEstimate], found: Sequence[_Population], stored: Manifest | None
) -> tuple[int, int]:
    """Return the most that staged trainings take at a time, and all shards in the end."""
    staging = 0
    for item in found:
        new = item.plan[item.stored.n_trainings if item.stored else 0 :]
        staging = max(staging, sum(4 * N_SNAPSHOTS * Architecture.of(p.hyperparameters).n_weights for p in new))
    others = sum(
        shard.nbytes
        for name, entry in (stored.populations if stored else {}).items()
        if name not in {item.name for item in found}
        for split in entry.splits.values()
        for shard in split.shards
    )
    return staging, others + sum(item.nbytes for item in populations)
