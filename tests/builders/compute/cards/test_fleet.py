"""Slots of a device fleet: filled, freed, idle; plain PyTorch stands in for the kernels, see ``kernels/test_program.py``."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import split_images
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE
from tests.builders.conftest import epoch_batches, hyperparameters, planned


def start(training: PlannedTraining) -> Tensor:
    return initial_vector(training.hyperparameters, training.seed)


def batches(training: PlannedTraining, bank: DeviceBank, epoch: int = 0) -> Tensor:
    """Positions of an epoch's batches."""
    hp = training.hyperparameters
    labels = bank.host.labels(hp.dataset, "train")
    return epoch_batches(split_images(len(labels), training.seed), labels, training.seed, epoch, hp.batch_size)


def load(fleet: DeviceFleet, slot: int, training: PlannedTraining, bank: DeviceBank, vector: Tensor) -> None:
    hp, rows = training.hyperparameters, batches(training, bank)
    fleet.load(slot, training, vector, {})
    fleet.set_epoch(slot, rows.to(bank.device), epoch_rates(hp.optimizer, hp.learning_rate, 0, 0, len(rows)))


def run(trainings: dict[int, PlannedTraining], bank: DeviceBank, steps: int) -> dict[int, Tensor]:
    """Train trainings in their slots; return their vectors by slot."""
    fleet = DeviceFleet(Shape.of(trainings[0].hyperparameters), bank, "slots", "float32", slots=4)
    for slot, training in trainings.items():
        load(fleet, slot, training, bank, start(training))
    fleet.run(steps)
    return {slot: fleet.vectors[slot].clone() for slot in trainings}


def test_a_non_finite_member_harms_no_companion_and_leaves_a_clean_slot(cpu_bank):
    trainings = {i: planned(i, optimizer=name) for i, name in enumerate(["momentum", "adam", "rmsprop"])}
    healthy = run(trainings, cpu_bank, 2)
    fleet = DeviceFleet(Shape.of(trainings[0].hyperparameters), cpu_bank, "slots", "float32", slots=4)
    vectors = {slot: start(training) for slot, training in trainings.items()}
    vectors[1][5] = float("nan")
    for slot, training in trainings.items():
        load(fleet, slot, training, cpu_bank, vectors[slot])
    fleet.run(2)
    assert fleet.vectors[1].isnan().any()
    for slot in (0, 2):
        assert torch.equal(fleet.vectors[slot].cpu(), healthy[slot])
    fleet.clear(1)
    load(fleet, 1, trainings[1], cpu_bank, start(trainings[1]))
    for slot in (0, 2):
        load(fleet, slot, trainings[slot], cpu_bank, start(trainings[slot]))
    fleet.run(2)
    for slot, expected in healthy.items():
        assert torch.equal(fleet.vectors[slot].cpu(), expected)


def test_an_idle_slot_stays_as_it_is(cpu_bank):
    training = planned(0)
    fleet = DeviceFleet(Shape.of(training.hyperparameters), cpu_bank, "slots", "float32", slots=2)
    load(fleet, 1, training, cpu_bank, start(training))
    fleet.run(2)
    assert fleet.vectors[0].eq(0).all() and fleet.state.losses.isfinite().all()
    assert fleet.vectors[1].isfinite().all() and not torch.equal(fleet.vectors[1].cpu(), start(training).float())


def test_the_size_of_a_fleet_depends_on_its_shape_alone():
    fixed = [Shape.of(hyperparameters(**FIXED_ARCHITECTURE, batch_size=n)).card_slots for n in CLASSES["batch_size"]]
    assert fixed == [4096 // n for n in CLASSES["batch_size"]]
    assert {Shape.of(hyperparameters(batch_size=n, activation="elu")).card_slots for n in CLASSES["batch_size"]} == {16}
