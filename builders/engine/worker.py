"""A worker process of the local engine: one thread that trains job after job and stages what is finished."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from builders.engine.jobs import Job
from builders.images.bank import ImageBank
from builders.training.compute_path import enter_compute_path
from builders.training.trainer import Interrupted, train_fleet
from nws_data.errors import NWSError

_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a build needs to know."""

    images: Path  # folder of the image bank
    staging: Path  # folder of finished trainings
    epoch_cap: int
    precision: str


@dataclass(frozen=True)
class Progress:
    """Images x models trained since the last report."""

    n_images: int
    flop: float


@dataclass(frozen=True)
class Finished:
    """A training is staged."""

    training: str
    n_epochs: int


@dataclass(frozen=True)
class Idle:
    """The worker wants a job."""


@dataclass(frozen=True)
class Failed:
    """The worker gave up."""

    message: str


class _Reporter:
    """Adds up progress, sends it now and then, and notices when the parent asks to stop or is gone."""

    def __init__(self, connection: Connection, flop_per_image: int) -> None:
        self._connection = connection
        self._flop_per_image = flop_per_image
        self._n_images = 0
        self._next_s = 0.0

    def step(self, n_images: int) -> None:
        """Count a step; raises ``Interrupted``."""
        self._n_images += n_images
        if time.monotonic() >= self._next_s:
            self.send()
            self._next_s = time.monotonic() + _REPORT_EVERY_S
            if self._connection.poll():  # the only message during a job is: stop; a closed pipe says it too
                raise Interrupted

    def send(self) -> None:
        """Report what has not been reported."""
        self._connection.send(Progress(self._n_images, float(self._n_images) * self._flop_per_image))
        self._n_images = 0


def run_worker(connection: Connection, settings: WorkerSettings) -> None:
    """Process entry: ask for jobs until the answer is None or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which tells its workers
    enter_compute_path()
    try:
        bank = ImageBank.open(settings.images)
        connection.send(Idle())
        while (job := connection.recv()) is not None:
            _run_job(connection, job, bank, settings)
            connection.send(Idle())
    except (EOFError, ConnectionError, Interrupted):
        return
    except NWSError as error:
        connection.send(Failed(str(error)))


def _run_job(connection: Connection, job: Job, bank: ImageBank, settings: WorkerSettings) -> None:
    reporter = _Reporter(connection, job.flop_per_image)
    records = train_fleet(
        job.trainings, bank, epoch_cap=settings.epoch_cap, precision=settings.precision, on_step=reporter.step
    )
    for record in records:
        record.save(settings.staging / f"{record.training}.safetensors")
        reporter.send()
        connection.send(Finished(record.training, record.n_epochs))
