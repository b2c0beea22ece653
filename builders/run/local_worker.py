"""A worker process of the local engine: one thread that asks for job after job."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection

from builders.compute.compute_path import enter_compute_path
from builders.compute.trainer import Interrupted
from builders.run.queue import Run
from builders.run.worker import Reporter, WorkerSettings, run_job
from nws_data.errors import NWSError


@dataclass(frozen=True)
class Idle:
    """The worker wants a job."""


@dataclass(frozen=True)
class Failed:
    """The worker gave up."""

    message: str


def run_worker(connection: Connection, settings: WorkerSettings) -> None:
    """Process entry: ask for jobs until the answer is None or the parent is gone."""
    enter_compute_path()
    try:
        connection.send(Idle())
        while (run := connection.recv()) is not None:
            _run(connection, run, settings)
            connection.send(Idle())
    except (EOFError, ConnectionError, Interrupted):
        return
    except NWSError as error:
        connection.send(Failed(str(error)))


def _run(connection: Connection, run: Run, settings: WorkerSettings) -> None:
    # The only message during a job is: stop. A closed pipe says it too.
    run_job(run.job, settings, Reporter(connection.send, connection.poll, run.number))
