"""The local engine: a pool of one-thread processes that take jobs until none is left.

Two processes of one thread beat one of two threads, badly so on a busy machine, and keep every sum in one order.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from builders.engine.jobs import Job
from builders.engine.worker import Failed, Finished, Idle, Progress, WorkerSettings, run_worker
from nws_data.errors import BuildError

_PATIENCE_S = 10.0  # how long a worker may take to stop by itself


def run_jobs(
    jobs: Iterable[Job], settings: WorkerSettings, n_workers: int, report: Callable[[Progress | Finished], None]
) -> None:
    """Run all jobs; finished trainings stand in the staging folder, whatever happens.

    Args:
        jobs: in the order in which to start them.
        settings: for the workers.
        n_workers: processes.
        report: called in this process with every message of progress.

    Raises:
        BuildError: a worker failed or was killed.
        KeyboardInterrupt: passed on after the workers have stopped.
    """
    queue = list(jobs)[::-1]
    pool = _Pool(settings, min(n_workers, len(queue)))
    try:
        while pool.workers:
            for connection, message in pool.messages():
                if isinstance(message, Idle):
                    pool.give(connection, queue.pop() if queue else None)
                elif isinstance(message, Failed):
                    raise BuildError(message.message)
                elif isinstance(message, Progress | Finished):
                    report(message)
    finally:
        pool.stop()


class _Pool:
    """The worker processes by their connections."""

    def __init__(self, settings: WorkerSettings, n_workers: int) -> None:
        self.workers: dict[Connection, BaseProcess] = {}
        context = get_context("spawn")
        # It unblocks SIGINT when it starts, so it must not start below.
        resource_tracker.ensure_running()
        # Blocked while starting: children inherit it, so Ctrl-C does not end them in the middle of an import.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(n_workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=run_worker, args=(theirs, settings), daemon=True)
                process.start()
                theirs.close()
                self.workers[ours] = process
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def messages(self) -> list[tuple[Connection, object]]:
        """Wait for messages; raises ``BuildError`` when a worker has died."""
        ready = [item for item in wait(list(self.workers), timeout=1.0) if isinstance(item, Connection)]
        received: list[tuple[Connection, object]] = []
        for connection in ready:
            try:
                received.append((connection, connection.recv()))
            except (EOFError, ConnectionResetError):
                process = self.workers[connection]
                process.join(_PATIENCE_S)
                killed = " (often: out of memory; give fewer --workers)" if process.exitcode == -signal.SIGKILL else ""
                raise BuildError(
                    f"a worker process ended with exit code {process.exitcode}{killed}. Finished trainings are kept; run "
                    "the same command again to go on"
                ) from None
        return received

    def give(self, connection: Connection, job: Job | None) -> None:
        """Hand out a job, or send the worker home."""
        connection.send(job)
        if job is None:
            self.workers.pop(connection).join()
            connection.close()

    def stop(self) -> None:
        """Ask the workers to stop, wait a little, and end those that do not."""
        for connection in self.workers:
            try:
                connection.send(None)
            except OSError:
                continue
        for connection, process in self.workers.items():
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
        self.workers.clear()
