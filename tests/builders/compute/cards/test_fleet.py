"""A device fleet's step equals a plain one-model training, whatever the slot and the companions."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import augment, to_float
from builders.recipe.dropout import dropout_mask
from builders.recipe.epochs import split_images
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE
from tests.builders.compute.oracle import Oracle
from tests.builders.conftest import SMALLEST, epoch_batches, hyperparameters, planned
from tests.pairs import all_pairs

MIXED = {"filter_size": 5, "depth_conv": 5, "depth_fc": 4, "width_conv": 16, "width_fc": 128}


def start(training: PlannedTraining, break_ties: bool = False) -> Tensor:
    """The initial vector, optionally without ties: of equal values in a max-pool window either may get the gradient."""
    vector = initial_vector(training.hyperparameters, training.seed)
    if break_ties:
        generator = torch.Generator().manual_seed(training.seed % 2**32)
        vector += 1e-7 * torch.randn(len(vector), generator=generator, dtype=torch.float64)
    return vector


def batches(training: PlannedTraining, bank: DeviceBank, epoch: int = 0) -> Tensor:
    """Positions of an epoch's batches."""
    hp = training.hyperparameters
    labels = bank.host.labels(hp.dataset, "train")
    return epoch_batches(split_images(len(labels), training.seed), labels, training.seed, epoch, hp.batch_size)


def load(fleet: DeviceFleet, slot: int, training: PlannedTraining, bank: DeviceBank, vector: Tensor) -> None:
    hp, rows = training.hyperparameters, batches(training, bank)
    fleet.load(slot, training, vector, {})
    fleet.set_epoch(slot, rows.to(bank.device), epoch_rates(hp.optimizer, hp.learning_rate, 0, 0, len(rows)))


def run(
    trainings: dict[int, PlannedTraining],
    bank: DeviceBank,
    steps: int,
    precision: str,
    *,
    slots: int = 4,
    break_ties: bool = False,
    backend: str = "slots",
) -> dict[int, Tensor]:
    """Train trainings in their slots; return their vectors by plan index."""
    first = next(iter(trainings.values()))
    fleet = DeviceFleet(Shape.of(first.hyperparameters), bank, backend, precision, slots)
    for slot, training in trainings.items():
        load(fleet, slot, training, bank, start(training, break_ties))
    fleet.run(steps)
    return {int(training.id[-6:]): fleet.vectors[slot].cpu() for slot, training in trainings.items()}


def oracle(training: PlannedTraining, bank: DeviceBank, steps: int, break_ties: bool = False) -> Tensor:
    hp, seed = training.hyperparameters, training.seed
    images, labels = bank.host.images(hp.dataset, "train"), bank.host.labels(hp.dataset, "train")
    plain = Oracle(hp, start(training, break_ties))
    units = sum(hp.width_fc // 2**i for i in range(hp.depth_fc - 1))
    for step, rows in enumerate(batches(training, bank)[:steps]):
        batch = augment(images[rows], seed, step) if hp.augmentation else to_float(images[rows])
        plain.step(batch.double(), labels[rows].long(), dropout_mask([seed], [step], hp.batch_size, units)[0], 0)
    return plain.vector()


@pytest.mark.parametrize("activation", CLASSES["activation"])
def test_float64_equals_the_oracle(device_bank, activation):
    pairs = all_pairs(itertools.product(*(CLASSES[name] for name in ("activation", "optimizer", "initialization"))))
    kinds = [(optimizer, initialization) for name, optimizer, initialization in pairs if name == activation]
    on_cpu = device_bank.device.type == "cpu"  # a card rounds augmented images otherwise: see kernels/test_images.py
    trainings = {
        i: planned(
            i,
            dataset=("digits", "colour")[i % 2],
            optimizer=optimizer,
            activation=activation,
            initialization=initialization,
            augmentation=on_cpu and i % 3 == 1,
            learning_rate=0.001 + 0.0002 * i,
        )
        for i, (optimizer, initialization) in enumerate(kinds)
    }
    vectors = run(trainings, device_bank, 2, "float64", slots=len(trainings) + 1, break_ties=True)
    for i, training in trainings.items():
        torch.testing.assert_close(vectors[i], oracle(training, device_bank, 2, break_ties=True), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(MIXED, marks=pytest.mark.slow),
        FIXED_ARCHITECTURE | {"batch_norm": False},
        SMALLEST | {"batch_norm": False},
    ],
)
def test_activations_and_optimizers_mix_in_a_fleet(device_bank, changes):
    changes = {"initialization": "glorot_normal"} | changes
    trainings = {
        i: planned(i, activation=activation, optimizer=CLASSES["optimizer"][i % 3], **changes)
        for i, activation in enumerate(CLASSES["activation"])
    }
    vectors = run(trainings, device_bank, 2, "float64")
    for i, training in trainings.items():
        torch.testing.assert_close(vectors[i], oracle(training, device_bank, 2), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("float32", SMALLEST),
        ("float32", MIXED),
        ("bfloat16", SMALLEST | {"batch_norm": False}),  # emulated on many machines
    ],
)
def test_bits_do_not_depend_on_slot_or_companions(device_bank, precision, changes):
    trainings = [
        planned(
            i, optimizer=CLASSES["optimizer"][i % 3], activation=CLASSES["activation"][i], augmentation=i == 1, **changes
        )
        for i in range(4)
    ]
    together = run(dict(enumerate(trainings)), device_bank, 2, precision)
    backwards = run(dict(enumerate(trainings[::-1])), device_bank, 2, precision)
    assert len({vector.numpy().tobytes() for vector in together.values()}) == 4
    assert all(torch.equal(together[i], backwards[i]) for i in range(4))
    alone = run({2: trainings[1]}, device_bank, 2, precision)
    assert torch.equal(together[1], alone[1])


def test_a_non_finite_member_harms_no_companion_and_leaves_a_clean_slot(device_bank):
    trainings = {i: planned(i, optimizer=name) for i, name in enumerate(["momentum", "adam", "rmsprop"])}
    healthy = run(trainings, device_bank, 2, "float32")
    fleet = DeviceFleet(Shape.of(trainings[0].hyperparameters), device_bank, "slots", "float32", slots=4)
    vectors = {slot: start(training) for slot, training in trainings.items()}
    vectors[1][5] = float("nan")
    for slot, training in trainings.items():
        load(fleet, slot, training, device_bank, vectors[slot])
    fleet.run(2)
    assert fleet.vectors[1].isnan().any()
    for slot in (0, 2):
        assert torch.equal(fleet.vectors[slot].cpu(), healthy[slot])
    fleet.clear(1)
    load(fleet, 1, trainings[1], device_bank, start(trainings[1]))
    for slot in (0, 2):
        load(fleet, slot, trainings[slot], device_bank, start(trainings[slot]))
    fleet.run(2)
    for slot, expected in healthy.items():
        assert torch.equal(fleet.vectors[slot].cpu(), expected)


def test_an_idle_slot_stays_as_it_is(device_bank):
    training = planned(0)
    fleet = DeviceFleet(Shape.of(training.hyperparameters), device_bank, "slots", "float32", slots=2)
    load(fleet, 1, training, device_bank, start(training))
    fleet.run(2)
    assert fleet.vectors[0].eq(0).all() and fleet.state.losses.isfinite().all()
    assert fleet.vectors[1].isfinite().all() and not torch.equal(fleet.vectors[1].cpu(), start(training).float())


def test_the_size_of_a_fleet_depends_on_its_shape_alone():
    fixed = [Shape.of(hyperparameters(**FIXED_ARCHITECTURE, batch_size=n)).card_slots for n in CLASSES["batch_size"]]
    assert fixed == [4096 // n for n in CLASSES["batch_size"]]
    assert {Shape.of(hyperparameters(batch_size=n, activation="elu")).card_slots for n in CLASSES["batch_size"]} == {16}
