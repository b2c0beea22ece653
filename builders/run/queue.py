"""The jobs that wait for a worker, and how often each was lost with its worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from builders.plan.jobs import Job
from builders.run.messages import Finished
from nws_data.errors import BuildError

MAX_LOSSES = 3
"""How many workers in a row may die over a job, none of them with a training finished."""


@dataclass(frozen=True)
class Run:
    """One attempt at a job."""

    number: int  # from 1, never used again
    index: int  # of the job
    job: Job


class JobQueue:
    """Hands out jobs in the order given, lost ones first.

    A job can be run again at any time, since finished trainings are staged and skipped. What a job costs before it is
    given up is bounded: a job that takes its workers down, such as one that does not fit into memory, ends the build.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = list(enumerate(jobs))[::-1]
        self._losses: Counter[int] = Counter()
        self._index_of: dict[int, int] = {}
        self._early_deaths = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Run | None:
        """Return the next job to run, None when no job waits."""
        if not self._waiting:
            return None
        index, job = self._waiting.pop()
        run = Run(len(self._index_of) + 1, index, job)
        self._index_of[run.number] = index
        return run

    def put_back(self, run: Run) -> None:
        """Let a job that was not started run next."""
        self._waiting.append((run.index, run.job))

    def note(self, message: Finished) -> None:
        """Remember that a run gets somewhere: losses count from here on."""
        if message.run in self._index_of:
            self._losses[self._index_of[message.run]] = 0

    def lost(self, run: Run, why: str) -> str:
        """Let a job run again whose worker died and return a line that says so.

        Raises:
            BuildError: it was lost too often.
        """
        self._losses[run.index] += 1
        n = self._losses[run.index]
        names = run.job.trainings
        which = names[0].id if len(names) == 1 else f"{names[0].id} and {len(names) - 1} more"
        if n > MAX_LOSSES:
            raise BuildError(
                f"the job of {which} lost its worker {n} times in a row, now: {why}. Too little memory is the usual cause: "
                "use fewer workers or a larger machine. Finished trainings are kept; run the same command again to go on"
            )
        self.put_back(run)
        return f"{why}; the job of {which} starts again ({n} of {MAX_LOSSES} retries), its finished trainings are kept"

    def lost_without_job(self, why: str) -> str:
        """Count a worker that died before it had a job; returns and raises as :meth:`lost`."""
        self._early_deaths += 1
        if self._early_deaths > MAX_LOSSES:
            raise BuildError(
                f"{self._early_deaths} workers died before they had a job, now: {why}. Too little memory is the usual "
                "cause: use fewer workers. Finished trainings are kept; run the same command again to go on"
            )
        return f"{why} before it had a job; another one starts"
