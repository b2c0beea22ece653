"""One training in progress: its batches, steps, curves and record."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import torch

from builders.compute.compute_path import compute_path
from builders.compute.member import Member, TrainingImages
from builders.compute.portable.fleet import Fleet
from builders.images.augmentation import augment, to_float
from builders.recipe.epochs import epoch_batches, split_images
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import rate
from nws_data.randomness import GENERATOR
from nws_data.space.architecture import Architecture
from tests.builders.compute.oracle import Oracle
from tests.builders.conftest import planned


def member(bank, index: int = 0, epoch_cap: int = 19, **changes) -> Member:
    training = planned(index, **changes)
    images = TrainingImages.of(bank, training.hyperparameters.dataset)
    return Member(training, images, epoch_cap)


def steps_of_epoch(one: Member) -> int:
    """Run through an epoch; return its steps."""
    n = 1
    one.next_batch()
    while not one.advance():
        one.next_batch()
        n += 1
    return n


def test_images_are_views_of_the_bank(bank):
    images = TrainingImages.of(bank, "colour")
    assert images.train_images.shape == (160, 3, 32, 32) and images.test_images.shape == (20, 3, 32, 32)
    assert len(images.train_labels) == 160 and len(images.test_labels) == 20
    assert images.train_images.data_ptr() == bank.images("colour", "train").data_ptr()


def test_batches_follow_the_epochs_and_rates_fall(bank):
    one = member(bank, optimizer="momentum")
    labels = bank.labels("digits", "train")
    split = split_images(100, one.seed)
    step = 0
    for epoch in range(3):
        rows = epoch_batches(split, labels, one.seed, epoch, 32)
        for k, positions in enumerate(rows):
            assert (one.step, one.epoch) == (step, epoch)
            images, targets, factor = one.next_batch()
            assert torch.equal(images, bank.images("digits", "train")[positions])
            assert torch.equal(targets, labels[positions])
            assert factor == rate("momentum", 0.002, epoch, step)
            assert one.advance() == (k == len(rows) - 1)
            step += 1


def test_augmentation_depends_on_the_step(bank):
    one, plain = member(bank, augmentation=True), member(bank)
    rows = epoch_batches(split_images(100, one.seed), bank.labels("digits", "train"), one.seed, 0, 32)
    images = one.next_batch()[0]
    assert torch.equal(images, augment(bank.images("digits", "train")[rows[0]], one.seed, 0))
    assert not torch.equal(images, plain.next_batch()[0])


def test_evaluation_never_augments(bank, monkeypatch):
    one, plain = member(bank, augmentation=True), member(bank)
    vector = one.initial_vector().float()

    def refuse(*arguments):
        raise AssertionError("evaluation must not augment")

    monkeypatch.setattr(Fleet, "augment", refuse)
    for _ in range(20):
        one.evaluate(vector)
        plain.evaluate(vector)
    a, b = one.record("float32", compute_path("portable")), plain.record("float32", compute_path("portable"))
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        assert getattr(a, name) == getattr(b, name)
        assert len(set(getattr(a, name))) == 1  # and evaluating changed nothing


@pytest.mark.parametrize("index", range(4))
def test_accuracies_are_those_of_the_three_parts(bank, index):
    one = member(bank, index, activation="elu", initialization="random_normal")
    vector = one.initial_vector()
    for _ in range(20):
        one.evaluate(vector)
    record = one.record("float32", compute_path("portable"))
    oracle = Oracle(one.planned.hyperparameters, vector)
    split = split_images(100, one.seed)

    def accuracy(part: str, positions: torch.Tensor) -> float:
        images, labels = bank.images("digits", part)[positions], bank.labels("digits", part)[positions]
        return (oracle.forward(to_float(images).double()).argmax(1) == labels).double().mean().item()

    assert record.validation_accuracy[0] == pytest.approx(accuracy("train", split.validation))
    assert record.train_accuracy[0] == pytest.approx(accuracy("train", split.train_scored))
    assert record.test_accuracy[0] == pytest.approx(accuracy("test", torch.arange(30)))


def test_initial_vector_is_that_of_seed_and_hyperparameters(bank):
    one = member(bank, 5, initialization="glorot_normal")
    assert torch.equal(one.initial_vector(), initial_vector(one.planned.hyperparameters, one.seed))


def test_snapshots_are_copies_in_the_order_of_time(bank):
    one = member(bank, epoch_cap=30)
    vector = one.initial_vector().float()
    for evaluation in range(31):
        vector[0] = evaluation
        one.evaluate(vector)
        if one.stop_reason is not None:
            break
    record = one.record("float32", compute_path("portable"))
    assert record.weights[:, 0].tolist() == list(record.snapshot_epochs)
    assert record.weights.dtype == np.float32
    assert record.snapshot_epochs[-1] == record.n_epochs == evaluation


def test_the_record_says_how_it_was_computed(bank, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node-\udcff")  # sethostname takes any bytes
    one = member(bank, 7)
    for _ in range(20):
        one.evaluate(one.initial_vector())
    record = one.record("bfloat16", compute_path("portable"))
    assert (record.training, record.seed) == ("random-000007", one.planned.seed)
    assert record.hyperparameters == one.planned.hyperparameters
    assert (record.generator, record.precision, record.device) == (GENERATOR, "bfloat16", "cpu")
    assert record.torch_version == torch.__version__
    assert record.compute_path.startswith("cpu-fleet-2/")
    assert record.finished_at.endswith("+00:00")
    assert record.wall_s > 0 and record.host == "node-?" and record.nws_version and record.python_version
    assert record.weights.shape == (20, Architecture.of(record.hyperparameters).n_weights)
    assert record.stop_reason == "cap" and record.snapshot_stride == 1


def test_an_unfinished_training_has_no_record(bank):
    one = member(bank)
    for _ in range(19):
        one.evaluate(one.initial_vector())
    with pytest.raises(RuntimeError, match="random-000000 is still training"):
        one.record("float32", compute_path("portable"))


def test_epochs_have_floor_steps(bank):
    one = member(bank, dataset="colour")
    split = split_images(160, one.seed)
    rarest = int(torch.bincount(bank.labels("colour", "train")[split.train]).min())
    assert steps_of_epoch(one) == 10 * rarest // 32
