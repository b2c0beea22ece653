"""The jobs that wait for a worker, and how often each was lost with its worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from builders.plan.jobs import Job
from builders.run.messages import Finished
from nws_data.errors import BuildError

MAX_LOSSES = 3
"""How many workers in a row may die over a job, none of them with a training finished."""


class JobQueue:
    """Hands out jobs in the order given, lost ones first.

    A job can be run again at any time, since finished trainings are staged and skipped. What a job costs before it is
    given up is bounded: a job that takes its workers down, such as one that does not fit into memory, ends the build.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = list(jobs)[::-1]
        self._losses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Job | None:
        """Return the next job to run, None when no job waits."""
        return self._waiting.pop() if self._waiting else None

    def put_back(self, job: Job) -> None:
        """Let a job that was not started run next."""
        self._waiting.append(job)

    def note(self, message: Finished) -> None:
        """Remember that a job gets somewhere: losses count from here on."""
        self._losses[message.job] = 0

    def lost(self, job: Job | None, why: str) -> str:
        """Let a job run again whose worker died, None for a worker that had none, and return a line that says so.

        Raises:
            BuildError: it was lost too often.
        """
        which = f"the job of {job.name}" if job else "a worker without a job"
        self._losses[job.name if job else ""] += 1
        n = self._losses[job.name if job else ""]
        if n > MAX_LOSSES:
            raise BuildError(
                f"{which} was lost {n} times in a row, now: {why}. Too little memory is the usual cause: use fewer workers "
                "or a larger machine. Finished trainings are kept; run the same command again to go on"
            )
        if job:
            self.put_back(job)
        return f"{why}; {which} starts again ({n} of {MAX_LOSSES} retries), finished trainings are kept"
