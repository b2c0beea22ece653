"""What a worker of any engine does with a job: train it and stage what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builders.compute.backend import open_backend
from builders.compute.trainer import Interrupted, train
from builders.images.bank import ImageBank
from builders.plan.jobs import Job
from builders.run.messages import Finished, Progress
from builders.run.token import sees_token
from nws_data.errors import FormatError
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
    token: str | None = None  # the file that allows writing into the staging folder, see builders/run/token.py


class Reporter:
    """Adds up progress of one job, sends it now and then, and asks whether the worker has to stop."""

    def __init__(self, send: Callable[[Progress | Finished], None], should_stop: Callable[[], bool], job: str = "") -> None:
        self._send, self._should_stop, self._job = send, should_stop, job
        self._n_images, self._flop, self._next_s = 0, 0.0, 0.0

    def step(self, n_images: int, flop: float) -> None:
        """Count a step of a fleet and its operations; raises ``Interrupted``."""
        self._n_images += n_images
        self._flop += flop
        if time.monotonic() >= self._next_s:
            self._flush()
            self._next_s = time.monotonic() + _REPORT_EVERY_S
            if self._should_stop():
                raise Interrupted

    def finished(self, record: TrainingRecord) -> None:
        """Report a training that is staged."""
        self._flush()
        self._send(Finished(record.training, record.n_epochs, self._job))

    def _flush(self) -> None:
        if self._n_images:
            self._send(Progress(self._n_images, self._flop, self._job))
            self._n_images, self._flop = 0, 0.0


def run_job(job: Job, settings: WorkerSettings, reporter: Reporter) -> None:
    """Train what is not staged yet of a job; every finished training is staged at once, complete or not at all.

    Raises:
        Interrupted: the worker has to stop.
        BuildError: the images cannot be read, the disk is full, there is no such device, ...
    """
    todo = []
    for planned in job.trainings:
        try:  # what an earlier run of the job staged, if it is sound
            reporter.finished(TrainingRecord.load(settings.staging / f"{planned.id}.safetensors"))
        except FormatError:
            todo.append(planned)
    if not todo:
        return
    device = job.device or settings.device
    backend = open_backend(settings.backend, ImageBank.open(settings.images), settings.precision, device)
    for record in train(todo, backend, epoch_cap=settings.epoch_cap, on_step=reporter.step):
        if settings.token and not sees_token(settings.staging, settings.token):
            raise Interrupted
        record.save(settings.staging / f"{record.training}.safetensors")
        reporter.finished(record)
