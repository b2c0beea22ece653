"""The local engine: workers that are killed are replaced, and nothing of what they had finished is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace

import pytest

from builders.run.local import run_jobs
from builders.run.messages import Finished, Progress
from builders.run.worker import WorkerSettings
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord


def kill_a_worker() -> None:
    for process in multiprocessing.active_children()[:1]:
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(jobs, settings, staged):
    messages = []

    def report(message):
        messages.append(message)
        if len(messages) == 1:
            kill_a_worker()

    run_jobs(jobs, settings, 1, report)
    assert staged() == {planned.id for job in jobs for planned in job.trainings}
    assert [TrainingRecord.load(path).n_epochs for path in settings.staging.glob("*.safetensors")] == [19] * 5
    (notice,) = [m for m in messages if isinstance(m, str)]
    assert "killed by SIGKILL (often: out of memory" in notice
    assert "(1 of 3 retries)" in notice
    assert len({m.training for m in messages if isinstance(m, Finished)}) == 5


class FailingCard(WorkerSettings):
    """Settings in whose place a worker meets a card that fails once."""

    def __getattribute__(self, name):
        if name == "images" and not (once := self.staging.with_name("failed")).exists():
            once.touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().__getattribute__(name)


def test_a_failed_card_is_a_lost_worker(jobs, settings, staged):
    messages = []
    run_jobs(jobs[:1], FailingCard(**vars(settings)), 1, messages.append)
    assert staged() == {planned.id for planned in jobs[0].trainings}
    (notice,) = [message for message in messages if isinstance(message, str)]
    assert "a worker's card failed" in notice and "(1 of 3 retries)" in notice


@pytest.mark.slow
def test_a_job_whose_workers_always_die_ends_the_build(jobs, settings, staged):
    def report(message):
        if isinstance(message, Progress):
            kill_a_worker()

    with pytest.raises(BuildError, match=r"was lost 4 times in a row.*SIGKILL.*run the same command again"):
        run_jobs(jobs[:1], settings, 1, report)
    assert staged() == set()
    assert multiprocessing.active_children() == []


def test_a_worker_s_error_reaches_the_user_and_is_not_tried_again(jobs, settings):
    messages = []
    with pytest.raises(BuildError, match="is no image bank"):
        run_jobs(jobs, replace(settings, images=settings.staging), 1, messages.append)
    assert messages == []
