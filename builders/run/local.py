"""The local engine: a pool of one-thread processes that take jobs until none is left.

Two processes of one thread beat one of two threads, badly so on a busy machine, and keep every sum in one order.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from builders.compute.compute_path import enter_compute_path
from builders.plan.jobs import Job
from builders.run.messages import Finished, Message
from builders.run.processes import exit_code, start_process
from builders.run.queue import JobQueue
from builders.run.worker import WorkerSettings, run_job
from nws_data.errors import BuildError, NWSError

_PATIENCE_S = 10.0  # how long a worker may take to stop by itself
_OF_A_CARD = "CUDA error", "Triton Error [CUDA]", "cuDNN error"  # in messages of PyTorch and Triton
_CARD_FAILED = 75  # exit code of a worker: the system's "try again"


def run_jobs(jobs: Iterable[Job], settings: WorkerSettings, n_workers: int, report: Callable[[Message], None]) -> None:
    """Run all jobs; finished trainings stand in the staging folder, whatever happens.

    A worker that is killed, as by a system that runs out of memory, or whose card fails, is replaced and its job starts
    again, a few times. Jobs start in their order; ``report`` is called in this process with every message of progress.

    Raises:
        BuildError: a worker failed, or a job lost its worker too often.
        KeyboardInterrupt: passed on after the workers have stopped.
    """
    pool = _Pool(JobQueue(jobs), settings, report)
    try:
        pool.run(n_workers)
    finally:
        pool.stop()


class _Pool:
    def __init__(self, queue: JobQueue, settings: WorkerSettings, report: Callable[[Message], None]) -> None:
        self._queue, self._settings, self._report = queue, settings, report
        self._workers: dict[Connection, BaseProcess] = {}
        self._jobs: dict[Connection, Job] = {}  # that workers are at

    def run(self, n_workers: int) -> None:
        for _ in range(min(n_workers, len(self._queue))):
            self._start()
        while self._workers:
            for connection in wait(list(self._workers), timeout=1.0):
                if isinstance(connection, Connection):
                    self._serve(connection)

    def stop(self) -> None:
        """Ask the workers to stop, wait a little, and end those that do not."""
        for connection in self._workers:
            with suppress(OSError):
                connection.send(None)
        for process in self._workers.values():
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self) -> None:
        process, connection = start_process(run_worker, self._settings, device=self._settings.device)
        self._workers[connection] = process

    def _serve(self, connection: Connection) -> None:
        """Act on a worker's message or death; raises ``BuildError`` when the build cannot go on."""
        try:
            message = connection.recv()
            if message is None:  # it wants a job
                self._jobs.pop(connection, None)
                if job := self._queue.take():
                    self._jobs[connection] = job
                connection.send(job)
                if job is None:
                    self._workers.pop(connection).join()
                return
        except (EOFError, OSError):
            process, job = self._workers.pop(connection), self._jobs.pop(connection, None)
            process.join(_PATIENCE_S)
            self._report(self._queue.lost(job, _cause_of_death(exit_code(process))))
            self._start()
            return
        if isinstance(message, BuildError):
            raise message
        if isinstance(message, Finished):
            self._queue.note(message)
        self._report(message)


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
