"""The queue of jobs: order, retries, and when it gives up."""

from __future__ import annotations

import pytest

from builders.run.messages import Finished
from builders.run.queue import MAX_LOSSES, JobQueue
from nws_data.errors import BuildError


def test_jobs_come_in_order_and_lost_ones_first(jobs):
    queue = JobQueue(jobs)
    first, second = queue.take(), queue.take()
    assert [first, second] == jobs[:2]
    assert "starts again" in queue.lost(first, "it died")
    assert queue.take() is first
    assert queue.take() == jobs[2]
    assert queue.take() is None


def test_a_job_that_takes_its_workers_down_ends_the_build(jobs):
    queue = JobQueue(jobs)
    for _ in range(MAX_LOSSES):
        queue.lost(queue.take(), "it died")
    with pytest.raises(
        BuildError,
        match=r"the job of random-000000 and 2 more was lost 4 times in a row, now: it died.*run the same command again",
    ):
        queue.lost(queue.take(), "it died")


def test_a_finished_training_starts_the_count_anew(jobs):
    queue = JobQueue(jobs)
    for _ in range(3 * MAX_LOSSES):
        job = queue.take()
        queue.note(Finished(job.trainings[0].id, 19, job.name))
        queue.lost(job, "it died")


def test_another_job_s_training_does_not(jobs):
    queue = JobQueue(jobs)
    other = queue.take()
    for _ in range(MAX_LOSSES):
        queue.lost(queue.take(), "it died")
        queue.note(Finished(other.trainings[0].id, 19, other.name))
    with pytest.raises(BuildError):
        queue.lost(queue.take(), "it died")


def test_a_job_that_was_put_back_has_lost_nothing(jobs):
    queue = JobQueue(jobs[:1])
    for _ in range(2 * MAX_LOSSES):
        queue.put_back(queue.take())
    assert len(queue) == 1


def test_workers_that_die_before_they_have_a_job(jobs):
    queue = JobQueue(jobs)
    for _ in range(MAX_LOSSES):
        assert "a worker without a job starts again" in queue.lost(None, "it died")
    with pytest.raises(BuildError, match="a worker without a job was lost 4 times"):
        queue.lost(None, "it died")
