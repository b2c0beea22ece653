"""One training in progress: its epochs, scores and record."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import torch

from builders.compute.backend import implementation
from builders.compute.lane import Member
from builders.compute.single import SingleFleet
from builders.plan.shape import Shape
from builders.recipe.augmentation import to_float
from builders.recipe.epochs import split_images
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import rate
from nws_data.randomness import GENERATOR
from nws_data.space.architecture import Architecture
from tests.builders.compute.oracle import Oracle
from tests.builders.conftest import epoch_batches, planned


def member(bank, index: int = 0, epoch_cap: int = 19, **changes) -> Member:
    return Member(planned(index, **changes), bank, epoch_cap, torch.device("cpu"))


def score(one: Member, bank, n: int) -> None:
    """Evaluate the initial weights n times."""
    hp, seed = one.planned.hyperparameters, one.planned.seed
    fleet = SingleFleet(implementation("plain")(Shape.of(hp), "float32"), bank)
    fleet.load(0, one.planned, initial_vector(hp, seed), one.scored)
    for _ in range(n):
        one.pending.append(fleet.evaluate(0))
    one.collect()


def test_batches_follow_the_epochs_and_rates_fall(bank):
    one = member(bank, optimizer="adam")
    labels, seed = bank.labels("digits", "train"), one.planned.seed
    split, step = split_images(100, seed), 0
    for epoch in range(3):
        rows, rates = one.next_epoch()
        assert torch.equal(rows, epoch_batches(split, labels, seed, epoch, 32)) and one.left == len(rows) == len(rates)
        for value in rates.tolist():
            assert value == rate("adam", 0.002, epoch, step)
            step += 1


def test_evaluation_never_augments_and_changes_nothing(bank):
    one, plain = member(bank, augmentation=True), member(bank)
    for each in (one, plain):
        score(each, bank, 20)
    a, b = (each.history.record("float32", "path", "cpu") for each in (one, plain))
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        assert getattr(a, name) == getattr(b, name)
        assert len(set(getattr(a, name))) == 1


@pytest.mark.parametrize("index", range(4))
def test_accuracies_are_those_of_the_three_parts(bank, index):
    one = member(bank, index, activation="elu", initialization="random_normal")
    score(one, bank, 20)
    record = one.history.record("float32", "path", "cpu")
    oracle = Oracle(one.planned.hyperparameters, initial_vector(one.planned.hyperparameters, one.planned.seed))
    split = split_images(100, one.planned.seed)

    def accuracy(part: str, positions: torch.Tensor) -> float:
        images, labels = bank.images("digits", part)[positions], bank.labels("digits", part)[positions]
        return (oracle.forward(to_float(images).double()).argmax(1) == labels).double().mean().item()

    assert record.validation_accuracy[0] == pytest.approx(accuracy("train", split.validation))
    assert record.train_accuracy[0] == pytest.approx(accuracy("train", split.train_scored))
    assert record.test_accuracy[0] == pytest.approx(accuracy("test", torch.arange(30)))


def test_snapshots_are_copies_in_the_order_of_time(bank):
    one = member(bank, epoch_cap=30)
    vector = torch.zeros(Architecture.of(one.planned.hyperparameters).n_weights)
    for evaluation in range(31):
        vector[0] = evaluation
        one.pending.append((torch.tensor([1, 2, 3]), vector))
        one.collect()
        if one.history.stop_reason is not None:
            break
    record = one.history.record("float32", "path", "cpu")
    assert record.weights[:, 0].tolist() == list(record.snapshot_epochs)
    assert record.weights.dtype == np.float32
    assert record.snapshot_epochs[-1] == record.n_epochs == evaluation


def test_the_record_says_how_it_was_computed(bank, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node-\udcff")  # sethostname takes any bytes
    one = member(bank, 7)
    score(one, bank, 20)
    record = one.history.record("bfloat16", "cpu-plain-1/ABACUS", "cpu")
    assert (record.training, record.seed) == ("random-000007", one.planned.seed)
    assert record.hyperparameters == one.planned.hyperparameters
    assert (record.generator, record.precision, record.device) == (GENERATOR, "bfloat16", "cpu")
    assert record.torch_version == torch.__version__
    assert record.compute_path == "cpu-plain-1/ABACUS"
    assert record.finished_at.endswith("+00:00")
    assert record.wall_s > 0 and record.host == "node-?" and record.nws_version and record.python_version
    assert record.weights.shape == (20, Architecture.of(record.hyperparameters).n_weights)
    assert record.stop_reason == "cap" and record.snapshot_stride == 1


def test_epochs_have_floor_steps(bank):
    one = member(bank, dataset="colour")
    labels = bank.labels("colour", "train")
    split = split_images(len(labels), one.planned.seed)
    rarest = int(torch.bincount(labels[split.train]).min())
    assert len(one.next_epoch()[0]) == 10 * rarest // 32
