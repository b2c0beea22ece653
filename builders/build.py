"""A build from options to dataset: images, plan, training, export. Interrupt it and run it again: it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from builders.compute.backend import default_backend
from builders.config import WORKER_BYTES, BuildConfig
from builders.images.bank import ImageBank
from builders.images.prepare import prepare_images
from builders.plan.jobs import Job, make_card_jobs, make_jobs
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe.epochs import enough_images, split_images, steps_per_epoch, too_few_images
from builders.run import local, ray
from builders.run.progress import BuildProgress, flop_per_epoch
from builders.run.worker import WorkerSettings
from builders.run.workspace import Workspace, open_workspace
from nws_data.format.manifest import Manifest
from nws_data.machine import available_memory
from nws_data.space.architecture import N_CLASSES
from nws_data.space.identity import training_id
from nws_data.space.image_sets import ImageSet
from nws_data.terminal import say
from nws_data.write.folder import check_ours
from nws_data.write.writer import check_appendable, write_dataset

_TRAININGS_A_CARD = 512  # of a job that any card of a cluster may take
CARD_TEMPLATE = Path(__file__).parents[1] / "dataset_card.md"


@dataclass(frozen=True)
class BuildReport:
    """What a build did for one population."""

    population: str
    n_trainings: int  # in the dataset now
    n_new: int  # trained by this run
    elapsed_s: float
    n_images: int  # images x models that were trained on


def build(config: BuildConfig) -> list[BuildReport]:
    """Build or extend a dataset.

    Raises:
        BuildError: bad options or images, a folder that holds something else, no space left, a failed worker.
        FormatError: the dataset in the folder is damaged.
        KeyboardInterrupt: Ctrl-C; finished trainings are kept.
    """
    check_ours(config.out)
    with open_workspace(config.out) as workspace:
        check_appendable(config.out)
        image_sets = prepare_images(workspace.images, config.images)
        return [_build_population(config, workspace, image_sets, name, n) for name, n in config.trainings.items()]


def _build_population(
    config: BuildConfig, workspace: Workspace, image_sets: tuple[ImageSet, ...], population: str, n: int
) -> BuildReport:
    started_s = time.monotonic()
    stored = check_appendable(config.out)
    recorded_path = (workspace.recorded_plan(stored, population) or {}).get("compute_path")
    if config.backend is None and recorded_path is None and default_backend(config.device) == "plain":
        why = "no C compiler works here (cc, gcc, clang, $CC), so --backend plain computes, which is slower"
        say(f"{population}: {why}", error=True)
    config = config.continuing(recorded_path)
    identity = config.identity(image_sets)
    recorded = _with_recorded(stored, image_sets)
    check_appendable(config.out, population, identity, recorded)
    names = [item.name for item in image_sets]
    n_stored = config.n_stored(stored, population)
    plan = list(plan_trainings(population, n, config.seed, names, config.batch_norm, n_stored))
    bank = ImageBank.open(workspace.images)
    _check_batches(plan, bank)
    workspace.claim_plan(population, identity)
    staged = workspace.staged(population)
    todo = [planned for planned in plan if planned.id not in staged]
    n_images = _train(config, workspace, bank, population, todo, n - len(todo))
    # Also when nothing is new: a writer that was killed at its very end is completed.
    write_dataset(
        config.out,
        populations={population: (identity, [workspace.path_of(planned.id) for planned in plan])},
        image_sets=recorded,
        card_template=CARD_TEMPLATE.read_text(encoding="utf-8"),
    )
    # Those of an earlier run too, which was killed before it came to this.
    for index in range(n):
        workspace.path_of(training_id(population, index)).unlink(missing_ok=True)
    return BuildReport(population, n, len(todo), time.monotonic() - started_s, n_images)


def _train(
    config: BuildConfig, workspace: Workspace, bank: ImageBank, population: str, todo: Sequence[PlannedTraining], n_done: int
) -> int:
    """Train and stage trainings of a population, ``n_done`` others are finished; return the images x models it took."""
    work = {planned.id: flop_per_epoch(planned, bank) for planned in todo}
    with BuildProgress(population, work, n_done, config.epoch_cap) as progress:
        jobs = _jobs(config, todo)
        n_workers = config.workers if config.device == "cpu" else len(jobs)
        if notice := _little_memory(config, bank.nbytes):
            progress.report(notice)
        where = (workspace.images, workspace.staging, config.epoch_cap, config.precision, config.device)
        settings = WorkerSettings(*where, config.backend or default_backend(config.device))
        if config.engine == "local":
            local.run_jobs(jobs, settings, n_workers, progress.report)
        else:
            ray.run_jobs(jobs, settings, n_workers, progress.report, config.address, config.gpus_per_fleet)
    return progress.n_images


def _jobs(config: BuildConfig, todo: Sequence[PlannedTraining]) -> list[Job]:
    """Return the build's jobs: for cards one each, which keeps several fleets in flight; smaller ones for Ray."""
    if config.device == "cpu":
        return make_jobs(todo)
    cards = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if config.engine != "local":
        cards = [""] * -(-len(todo) // _TRAININGS_A_CARD)
    return make_card_jobs(todo, cards)


def _little_memory(config: BuildConfig, bank_bytes: int) -> str | None:
    """Return a warning where this machine has too little memory for its workers and the images, which they share."""
    need, free = config.workers * WORKER_BYTES + bank_bytes, available_memory()
    if config.engine != "local" or config.device != "cpu" or free is None or free >= need:
        return None
    return (
        f"{config.workers} workers and the images may need {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: if "
        "workers get killed, give fewer --workers"
    )


def _with_recorded(stored: Manifest | None, image_sets: tuple[ImageSet, ...]) -> tuple[ImageSet, ...]:
    """Return the image sets of the dataset, those that it has already first: their order is that of the labels."""
    recorded = stored.image_sets if stored else ()
    mine = {item.name: item for item in image_sets}
    # The same images may come from a file of another name now.
    old = [item if (own := mine.pop(item.name, item)).digest == item.digest else own for item in recorded]
    return (*old, *mine.values())


def _check_batches(plan: Iterable[PlannedTraining], bank: ImageBank) -> None:
    """Raise ``BuildError`` when an image set is too small for a training's batch size, before anything is trained."""
    for planned in sorted(plan, key=lambda planned: -planned.hyperparameters.batch_size):  # the error names the largest
        name, batch_size = planned.hyperparameters.dataset, planned.hyperparameters.batch_size
        labels = bank.labels(name, "train")
        if int(torch.bincount(labels, minlength=N_CLASSES).min()) >= 2 * enough_images(batch_size):
            continue  # beyond any luck, and splitting large sets takes time
        split = split_images(len(labels), planned.seed)
        if steps_per_epoch(labels[split.train], batch_size) < 1:
            raise too_few_images(name, len(labels), batch_size)
