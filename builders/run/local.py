"""The local engine: a pool of one-thread processes that take jobs until none is left.

Two processes of one thread beat one of two threads, badly so on a busy machine, and keep every sum in one order.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from builders.plan.jobs import Job
from builders.run.local_worker import Failed, Idle, run_worker
from builders.run.messages import Ended, Finished, Message, Notice, Progress
from builders.run.processes import exit_code, start_process
from builders.run.queue import JobQueue, Run
from builders.run.worker import WorkerSettings
from nws_data.errors import BuildError

_PATIENCE_S = 10.0  # how long a worker may take to stop by itself


def run_jobs(jobs: Iterable[Job], settings: WorkerSettings, n_workers: int, report: Callable[[Message], None]) -> None:
    """Run all jobs; finished trainings stand in the staging folder, whatever happens.

    A worker that is killed, as by a system that runs out of memory, is replaced and its job starts again, a few times.

    Args:
        jobs: in the order in which to start them.
        settings: for the workers.
        n_workers: processes.
        report: called in this process with every message of progress.

    Raises:
        BuildError: a worker failed, or a job lost its worker too often.
        KeyboardInterrupt: passed on after the workers have stopped.
    """
    queue = JobQueue(jobs)
    pool = _Pool(settings, min(n_workers, len(queue)))
    try:
        while pool.workers:
            for worker, message in pool.messages():
                _handle(pool, queue, worker, message, report)
    finally:
        pool.stop()


@dataclass(eq=False)
class _Worker:
    """A process and what it is at."""

    process: BaseProcess
    connection: Connection
    run: Run | None = None


@dataclass(frozen=True)
class _Died:
    """The process has ended by itself."""

    exit_code: int | None


def _handle(pool: _Pool, queue: JobQueue, worker: _Worker, message: object, report: Callable[[Message], None]) -> None:
    """Act on a worker's message; raises ``BuildError`` when the build cannot go on."""
    if isinstance(message, Failed):
        raise BuildError(message.message)
    if isinstance(message, Finished):
        queue.note(message)
    if isinstance(message, Finished | Progress):
        report(message)
        return
    run, worker.run = worker.run, None
    if isinstance(message, _Died):
        _bury(queue, run, message.exit_code, report)
        pool.replace(worker)
    elif isinstance(message, Idle):
        if run is not None:
            report(Ended(run.number, lost=False))
        pool.give(worker, queue.take())


def _bury(queue: JobQueue, run: Run | None, exit_code: int | None, report: Callable[[Message], None]) -> None:
    """Put the job of a dead worker back; raises ``BuildError`` unless a signal from outside ended it."""
    if exit_code is None or exit_code >= 0:
        raise BuildError(
            f"a worker process ended with exit code {exit_code}. Finished trainings are kept; run the same command again "
            "to go on"
        )
    hint = " (often: out of memory; give fewer --workers)" if exit_code == -signal.SIGKILL else ""
    why = f"a worker process was killed by {_signal_name(-exit_code)}{hint}"
    if run is None:
        report(Notice(queue.lost_without_job(why)))
    else:
        report(Ended(run.number, lost=True))
        report(Notice(queue.lost(run, why)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Pool:
    """The worker processes by their connections."""

    def __init__(self, settings: WorkerSettings, n_workers: int) -> None:
        self.workers: dict[Connection, _Worker] = {}
        self._settings = settings
        for _ in range(n_workers):
            self._start()

    def _start(self) -> None:
        process, connection = start_process(run_worker, self._settings, device=self._settings.device)
        self.workers[connection] = _Worker(process, connection)

    def messages(self) -> list[tuple[_Worker, object]]:
        """Wait for messages; a worker that has died gives :class:`_Died`."""
        ready = [item for item in wait(list(self.workers), timeout=1.0) if isinstance(item, Connection)]
        received: list[tuple[_Worker, object]] = []
        for connection in ready:
            worker = self.workers[connection]
            try:
                received.append((worker, connection.recv()))
            except (EOFError, ConnectionResetError):
                worker.process.join(_PATIENCE_S)
                received.append((worker, _Died(exit_code(worker.process))))
        return received

    def give(self, worker: _Worker, run: Run | None) -> None:
        """Hand out a job, or send the worker home."""
        worker.run = run
        try:
            worker.connection.send(run)
        except OSError:
            return  # it has just died; the next message says so
        if run is None:
            del self.workers[worker.connection]
            worker.process.join()
            worker.connection.close()

    def replace(self, worker: _Worker) -> None:
        """Start another process in place of one that has ended."""
        del self.workers[worker.connection]
        worker.connection.close()
        self._start()

    def stop(self) -> None:
        """Ask the workers to stop, wait a little, and end those that do not."""
        for connection in self.workers:
            try:
                connection.send(None)
            except OSError:
                continue
        for connection, worker in self.workers.items():
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            connection.close()
        self.workers.clear()
