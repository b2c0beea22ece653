"""Jobs: every training once, the costliest first; for cards shared out evenly."""

from __future__ import annotations

from itertools import pairwise

import pytest

from builders.plan.jobs import make_card_jobs, make_jobs
from builders.plan.shape import training_flop
from builders.plan.trainings import plan_trainings
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from tests.builders.conftest import planned


@pytest.fixture(scope="module")
def trainings():
    return [t for name, n in (("fixed", 150), ("random", 300)) for t in plan_trainings(name, n, 1, ["digits"])]


def test_every_training_once(trainings):
    covered = [t.id for job in make_jobs(trainings) for t in job.trainings]
    assert sorted(covered) == sorted(t.id for t in trainings)


def test_the_costliest_first(trainings):
    costs = [len(job.trainings) * job.flop_per_image for job in make_jobs(trainings)]
    assert all(a >= b for a, b in pairwise(costs))
    assert costs[0] > costs[-1]


def test_nothing_to_do():
    assert make_jobs([]) == []


def test_the_cost_of_an_image_is_that_of_training():
    (job,) = make_jobs([planned(0)])
    assert job.flop_per_image == training_flop(Architecture.of(planned(0).hyperparameters))


def test_device_jobs_cover_the_trainings_once_and_evenly():
    trainings = [planned(i, batch_size=CLASSES["batch_size"][i % 2], width_fc=(64, 128)[i % 3 % 2]) for i in range(150)]
    jobs = make_card_jobs(trainings, ["cuda:0", "cuda:1"])
    assert [job.device for job in jobs] == ["cuda:0", "cuda:1"]
    covered = [training.id for job in jobs for training in job.trainings]
    assert sorted(covered) == sorted(training.id for training in trainings)
    sizes = [len(job.trainings) for job in jobs]
    assert max(sizes) - min(sizes) <= 32  # one piece: four fillings of eight slots


def test_fewer_trainings_than_cards():
    (job,) = make_card_jobs([planned(0)], ["cuda:0", "cuda:1"])
    assert job.device == "cuda:0" and len(job.trainings) == 1
    assert make_card_jobs([], ["cuda:0"]) == []
