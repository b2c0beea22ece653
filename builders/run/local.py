"""The local engine: a pool of one-thread processes that take jobs until none is left.

Two processes of one thread beat one of two threads, badly so on a busy machine, and keep every sum in one order.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from builders.compute.compute_path import enter_compute_path
from builders.plan.jobs import Job
from builders.run.messages import Finished, Message, Notice
from builders.run.processes import exit_code, start_process
from builders.run.queue import JobQueue
from builders.run.worker import WorkerSettings, run_job
from nws_data.errors import BuildError, NWSError

_PATIENCE_S = 10.0  # how long a worker may take to stop by itself
_OF_A_CARD = "CUDA error", "Triton Error [CUDA]", "cuDNN error"  # in messages of PyTorch and Triton
_CARD_FAILED = 75  # exit code of a worker: the system's "try again"


@dataclass(eq=False)
class _Worker:
    """A process and what it is at."""

    process: BaseProcess
    job: Job | None = None


def run_jobs(jobs: Iterable[Job], settings: WorkerSettings, n_workers: int, report: Callable[[Message], None]) -> None:
    """Run all jobs; finished trainings stand in the staging folder, whatever happens.

    A worker that is killed, as by a system that runs out of memory, or whose card fails, is replaced and its job starts
    again, a few times. Jobs start in their order; ``report`` is called in this process with every message of progress.

    Raises:
        BuildError: a worker failed, or a job lost its worker too often.
        KeyboardInterrupt: passed on after the workers have stopped.
    """
    queue = JobQueue(jobs)
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(n_workers, len(queue))):
            _start(workers, settings)
        while workers:
            for connection in wait(list(workers), timeout=1.0):
                if isinstance(connection, Connection):
                    _serve(workers, connection, queue, settings, report)
    finally:
        _stop(workers)


def _start(workers: dict[Connection, _Worker], settings: WorkerSettings) -> None:
    process, connection = start_process(run_worker, settings, device=settings.device)
    workers[connection] = _Worker(process)


def _serve(
    workers: dict[Connection, _Worker],
    connection: Connection,
    queue: JobQueue,
    settings: WorkerSettings,
    report: Callable[[Message], None],
) -> None:
    """Act on a worker's message or death; raises ``BuildError`` when the build cannot go on."""
    worker = workers[connection]
    try:
        message = connection.recv()
        if message is None:  # it wants a job
            worker.job = queue.take()
            connection.send(worker.job)
            if worker.job is None:
                worker.process.join()
                del workers[connection]
            return
    except (EOFError, OSError):
        worker.process.join(_PATIENCE_S)
        del workers[connection]
        report(Notice(queue.lost(worker.job, _cause_of_death(exit_code(worker.process)))))
        _start(workers, settings)
        return
    if isinstance(message, BuildError):
        raise message
    if isinstance(message, Finished):
        queue.note(message)
    report(message)


def _cause_of_death(exit_code: int | None) -> str:
    """Return what ended a worker, in words; raises ``BuildError`` where it ended by a fault of its own."""
    if exit_code == _CARD_FAILED:
        return "a worker's card failed, with the message above"
    if exit_code is None or exit_code >= 0:
        raise BuildError(
            f"a worker process ended with exit code {exit_code}. Finished trainings are kept; run the same command again "
            "to go on"
        )
    hint = " (often: out of memory; give fewer --workers)" if exit_code == -signal.SIGKILL else ""
    known = -exit_code in set(signal.Signals)
    return f"a worker process was killed by {signal.Signals(-exit_code).name if known else f'signal {-exit_code}'}{hint}"


def _stop(workers: dict[Connection, _Worker]) -> None:
    """Ask the workers to stop, wait a little, and end those that do not."""
    for connection in workers:
        try:
            connection.send(None)
        except OSError:
            continue
    for worker in workers.values():
        worker.process.join(_PATIENCE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def run_worker(connection: Connection, settings: WorkerSettings) -> None:
    """Process entry: ask for jobs, by None, until the answer is None or the parent is gone; an error is the last word."""
    enter_compute_path()
    try:
        connection.send(None)
        while (job := connection.recv()) is not None:
            for message in run_job(job, settings):
                connection.send(message)
                if connection.poll():  # the only message during a job is: stop; a closed pipe says it too
                    return
            connection.send(None)
    except (EOFError, ConnectionError):
        return
    except NWSError as error:
        connection.send(BuildError(str(error)))
    except RuntimeError as error:
        if not any(text in str(error) for text in _OF_A_CARD):
            raise
        traceback.print_exc()
        os._exit(_CARD_FAILED)  # the context is lost, and may hang in what an exit would do
