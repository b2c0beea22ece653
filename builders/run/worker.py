"""What a worker of any engine does with a job: train it and stage what is finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.compute.lane import Steps
from builders.compute.trainer import open_backend, train
from builders.images.bank import ImageBank
from builders.plan.jobs import Job
from builders.run.messages import Finished, Progress
from nws_data.errors import BuildError, FormatError
from nws_data.format.records import TrainingRecord

_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a build needs to know."""

    images: Path  # folder of the image bank
    staging: Path  # folder of finished trainings
    epoch_cap: int
    precision: str
    device: str  # "cpu" or "cuda"
    backend: str  # how it computes, see builders/compute/backend.py
    token: str | None = None  # the file that allows writing into the staging folder, see builders/run/workspace.py


def run_job(job: Job, settings: WorkerSettings) -> Iterator[Progress | Finished]:
    """Train what is not staged yet of a job, and yield messages: progress now and then, and every training that is staged,
    at once, complete or not at all. Who stops iterating stops the job.

    Raises:
        BuildError: the images cannot be read, the disk is full, the folder belongs to another build, ...
    """
    todo = []
    for planned in job.trainings:
        try:  # what an earlier run of the job staged, if it is sound
            record = TrainingRecord.load(settings.staging / f"{planned.id}.safetensors")
        except FormatError:
            todo.append(planned)
        else:
            yield Finished(record.training, record.n_epochs, job.name)
    if not todo:
        return
    device = job.device or settings.device
    backend = open_backend(settings.backend, ImageBank.open(settings.images), settings.precision, device)
    n_images, flop, next_s = 0, 0.0, 0.0
    for event in train(todo, backend, epoch_cap=settings.epoch_cap):
        if isinstance(event, Steps):
            n_images, flop = n_images + event.n_images, flop + event.flop
            if time.monotonic() < next_s:
                continue
        if n_images:
            yield Progress(n_images, flop, job.name)
            n_images, flop, next_s = 0, 0.0, time.monotonic() + _REPORT_EVERY_S
        if isinstance(event, TrainingRecord):
            if settings.token and not (settings.staging / settings.token).exists():
                raise BuildError(f"the build's folder {settings.staging} belongs to another build now")
            event.save(settings.staging / f"{event.training}.safetensors")
            yield Finished(event.training, event.n_epochs, job.name)
