"""Jobs: every training once, one shape a job, the costliest first."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from builders.plan.cost import training_flop
from builders.plan.fleet_shape import FleetShape
from builders.plan.jobs import make_jobs
from builders.plan.trainings import plan_trainings
from tests.builders.conftest import planned


@pytest.fixture(scope="module")
def trainings():
    return [t for name, n in (("fixed", 150), ("random", 300)) for t in plan_trainings(name, n, 1, ["digits"])]


def test_every_training_once(trainings):
    covered = [t.id for job in make_jobs(trainings) for t in job.trainings]
    assert sorted(covered) == sorted(t.id for t in trainings)


def test_one_shape_a_job_and_not_too_many(trainings):
    for job in make_jobs(trainings):
        assert {FleetShape.of(t.hyperparameters) for t in job.trainings} == {job.shape}
        assert 1 <= len(job.trainings) <= 4 * job.shape.max_members
        indices = [t.id for t in job.trainings]
        assert indices == sorted(indices)


def test_the_costliest_first(trainings):
    costs = [len(job.trainings) * job.flop_per_image for job in make_jobs(trainings)]
    assert all(a >= b for a, b in pairwise(costs))
    assert costs[0] > costs[-1]


def test_a_large_shape_is_divided():
    # Batches of 32 run in fleets of four, four trainings a slot: 16 a job.
    jobs = make_jobs(planned(i) for i in range(40))
    assert [len(job.trainings) for job in jobs] == [16, 16, 8]
    assert [t.id for job in jobs for t in job.trainings] == [f"random-{i:06d}" for i in range(40)]
    # Batches of 128 in fleets of two: 8 a job.
    assert [len(job.trainings) for job in make_jobs(planned(i, batch_size=128) for i in range(9))] == [8, 1]


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"learning_rate": 0.003}, 1),
        ({"optimizer": "momentum"}, 1),
        ({"initialization": "constant"}, 1),
        ({"augmentation": True}, 1),
        ({"dataset": "colour"}, 1),
        ({"activation": "tanh"}, 2),
        ({"batch_size": 64}, 2),
        ({"width_fc": 128}, 2),
        ({"batch_norm": False}, 2),
    ],
)
def test_what_a_fleet_can_mix(change, jobs):
    assert len(make_jobs([planned(0), planned(1, **change)])) == jobs


def test_nothing_to_do():
    assert make_jobs([]) == []


def test_the_cost_of_an_image_is_that_of_training():
    (job,) = make_jobs([planned(0)])
    assert job.flop_per_image == training_flop(job.shape.architecture)


def test_equal_shapes_meet_whatever_stands_between(trainings):
    shuffled = random.Random(0).sample(trainings, len(trainings))
    assert len(make_jobs(shuffled)) == len(make_jobs(trainings))
