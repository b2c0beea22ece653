"""What any worker does with a job: trains what is missing, stages it, stops when it is told to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders.run.messages import Finished, Progress
from builders.run.worker import run_job
from builders.run.workspace import staging_token
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord


def test_a_job_is_staged_and_reported(jobs, settings, staged, worker_path):
    messages = list(run_job(jobs[-1], settings))
    names = [planned.id for planned in jobs[-1].trainings]
    assert staged() == set(names)
    assert [m for m in messages if isinstance(m, Finished)] == [Finished(name, 19, jobs[-1].name) for name in names]
    progress = [m for m in messages if isinstance(m, Progress)]
    record = TrainingRecord.load(settings.staging / f"{names[0]}.safetensors")
    steps = sum(m.n_images for m in progress) / record.hyperparameters.batch_size
    assert steps == int(steps) > 0
    assert sum(m.flop for m in progress) == pytest.approx(sum(m.n_images for m in progress) * jobs[-1].flop_per_image)


@pytest.mark.slow
def test_a_job_run_again_trains_only_what_is_missing(jobs, settings, worker_path):
    job = max(jobs, key=lambda job: len(job.trainings))
    first, *_, last = [settings.staging / f"{planned.id}.safetensors" for planned in job.trainings]
    n_images = sum(m.n_images for m in run_job(job, settings) if isinstance(m, Progress))
    kept, weights = first.read_bytes(), TrainingRecord.load(last).weights
    last.write_bytes(last.read_bytes()[:-1])  # damaged: counts as missing
    messages = list(run_job(job, settings))
    assert {m.training for m in messages if isinstance(m, Finished)} == {planned.id for planned in job.trainings}
    assert first.read_bytes() == kept  # its provenance too
    assert np.array_equal(TrainingRecord.load(last).weights, weights)
    assert 0 < sum(m.n_images for m in messages if isinstance(m, Progress)) < n_images


def test_a_worker_that_is_told_to_stop_stages_nothing_half(jobs, settings, worker_path):
    assert isinstance(next(run_job(jobs[0], settings)), Progress)
    assert list(settings.staging.iterdir()) == []


def test_a_worker_of_a_dead_build_does_not_write_into_the_next(jobs, settings, staged, worker_path):
    with staging_token(settings.staging) as mine:
        (settings.staging / mine).unlink()  # as the next build does
        with staging_token(settings.staging), pytest.raises(BuildError, match="belongs to another build now"):
            list(run_job(jobs[-1], replace(settings, token=mine)))
    assert staged() == set()


def test_a_card_that_is_not_there_is_refused(jobs, settings):
    with pytest.raises(BuildError, match=r"--device cuda:99: "):
        next(run_job(jobs[0], replace(settings, device="cuda:99", backend="triton")))
