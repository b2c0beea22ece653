"""Whole trainings on the device path: the CPU path's numbers, the same bits in any order, refilled slots."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import builders.compute.cards.fleet
import builders.compute.lane
from builders.compute import trainer
from builders.compute.backend import OpenBackend
from builders.compute.cards.card import open_card
from builders.compute.lane import Steps
from builders.compute.trainer import open_backend
from builders.plan.shape import training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.initialization import initial_vector
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord
from nws_data.space.architecture import Architecture
from nws_data.space.trajectory import CURVES
from tests.builders.builds import assert_same
from tests.builders.conftest import planned


@pytest.fixture
def card(bank) -> Iterator[Callable[..., OpenBackend]]:
    """Returns a function that opens a CPU in the place of a card, with fleets of two slots."""

    def opened(precision: str = "float32", slots: int = 2, n_fleets: int = 8) -> OpenBackend:
        return open_card("slots", bank, precision, "cpu", slots, n_fleets)

    yield opened
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def train(trainings: list[PlannedTraining], card: OpenBackend) -> dict[str, TrainingRecord]:
    records = [event for event in trainer.train(trainings, card, epoch_cap=19) if isinstance(event, TrainingRecord)]
    assert len({record.training for record in records}) == len(records) == len(trainings)
    return {record.training: record for record in records}


def mixed(n: int) -> list[PlannedTraining]:
    """Trainings of one device shape that differ in all that a fleet mixes; epochs of the two sets differ in length."""
    return [
        planned(
            i,
            dataset=("digits", "colour")[i % 3 == 1],
            augmentation=i == 1,
            optimizer=("adam", "rmsprop", "momentum")[i % 3],
            activation=("elu", "tanh", "sigmoid")[i % 3],
        )
        for i in range(n)
    ]


@pytest.mark.slow
def test_trainings_equal_those_of_the_cpu_path(card, bank, worker_path):
    trainings = mixed(3)
    records = train(trainings, card("float64"))
    for training in trainings:
        (expected,) = train([training], open_backend("native", bank, "float64")).values()
        record = records[training.id]
        assert np.abs(record.weights - expected.weights).max() < 1e-6
        for name in (*CURVES, "stop_reason", "snapshot_epochs", "snapshot_stride", "seed", "hyperparameters"):
            assert getattr(record, name) == getattr(expected, name), name


@pytest.mark.slow
def test_the_same_bits_in_any_order_lane_and_company(card, worker_path):
    trainings = mixed(3)  # two slots: the third takes over a free one
    together = train(trainings, card())
    other_shape = planned(9, batch_size=64)
    others = train([other_shape, *trainings[2::-2]], card(n_fleets=2))
    for training in (trainings[0], trainings[2]):
        assert_same(together[training.id], others[training.id])
    (alone,) = train([other_shape], card()).values()
    assert_same(others[other_shape.id], alone)
    assert together[trainings[0].id].compute_path.startswith("cuda-fleet-3/slots/")
    assert together[trainings[0].id].device == card().device


@pytest.mark.slow
def test_a_non_finite_training_is_kept_and_harms_no_companion(card, worker_path, monkeypatch):
    trainings = [planned(i) for i in range(3)]
    (healthy,) = train(trainings[2:], card()).values()

    def poisoned(hyperparameters, seed):
        vector = initial_vector(hyperparameters, seed)
        if seed != trainings[2].seed:
            vector[100] = float("inf")
        return vector

    monkeypatch.setattr(builders.compute.lane, "initial_vector", poisoned)
    records = train(trainings, card())
    assert [np.isfinite(records[training.id].weights).all() for training in trainings] == [False, False, True]
    assert_same(records[trainings[2].id], healthy)  # in a slot that a non-finite training left


def test_steps_are_counted(card, worker_path):
    trainings = [planned(i) for i in range(2)]
    events = trainer.train(trainings, card(), epoch_cap=19)
    per_image = training_flop(Architecture.of(trainings[0].hyperparameters))
    # Two members, two steps an epoch, batches of 32.
    assert list(itertools.islice(events, 5)) == [Steps(128, 128.0 * per_image)] * 5


@pytest.mark.slow
def test_a_long_epoch_takes_several_turns(card, worker_path, monkeypatch):
    whole = train([planned(0)], card(slots=1))
    monkeypatch.setattr(builders.compute.cards.fleet, "_STEPS_A_TURN", 1)
    assert_same(train([planned(0)], card(slots=1))["random-000000"], whole["random-000000"])


@pytest.mark.slow
@pytest.mark.parametrize("call", ["open", "run"])
def test_a_full_card_closes_a_lane_and_ends_no_build(card, worker_path, call):
    trainings = [planned(0), planned(1, batch_size=64)]
    expected, opened, failed = train(trainings, card()), card(), []

    def fleet(shape, number, n_trainings):  # a card without memory for a second fleet, which it notices sooner or later
        made = opened.fleet(shape, number, n_trainings)
        run = made.run

        def full(*arguments):
            if number == 1:
                failed.append(weakref.ref(made))
                raise torch.OutOfMemoryError("CUDA out of memory")
            run(*arguments)

        made.run = full
        if call == "open" and number == 1:
            full()
        return made

    found = train(trainings, replace(opened, fleet=fleet))
    assert len(failed) == 1
    for name, record in expected.items():
        assert_same(found[name], record)
    gc.collect()
    assert failed[0]() is None  # its memory is free
    with pytest.raises(BuildError, match=r"does not hold one fleet; `nvidia-smi`"):
        train(trainings[:1], replace(opened, fleet=lambda shape, number, n: fleet(shape, 1, n)))


def test_nothing_to_train(card):
    assert train([], card()) == {}
