"""Which images a training sees: the split, and epochs that are balanced, shuffled and drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from builders.recipe.epochs import ImageSplit, enough_images, split_images, steps_per_epoch
from nws_data.space.hyperparameters import CLASSES
from tests.builders.conftest import epoch_batches

BALANCED = torch.arange(500, dtype=torch.uint8) % 10
# Class c has 20 + 10 c images, in a random order: 650.
UNBALANCED = torch.arange(10, dtype=torch.uint8).repeat_interleave(20 + 10 * torch.arange(10))[
    torch.randperm(650, generator=torch.Generator().manual_seed(0))
]
ALL = torch.empty(0, dtype=torch.int64)


def whole(n: int) -> ImageSplit:
    """A split whose training part is everything, so that class counts are known."""
    return ImageSplit(ALL, torch.arange(n), ALL)


@pytest.mark.parametrize(("n", "tenth"), [(500, 50), (503, 50), (1438, 143)])
def test_the_split(n, tenth):
    split = split_images(n, 7)
    validation, train, scored = (set(part.tolist()) for part in (split.validation, split.train, split.train_scored))
    assert len(split.validation) == len(validation) == tenth
    assert len(split.train_scored) == len(scored) == tenth
    assert len(split.train) == len(train) == n - tenth
    assert validation.isdisjoint(train) and validation | train == set(range(n))
    assert scored <= train


def test_the_split_follows_the_seed():
    a, b = split_images(500, 7), split_images(500, 8)
    assert torch.equal(a.validation, split_images(500, 7).validation)
    assert not torch.equal(a.validation, b.validation)
    assert not torch.equal(a.train_scored, b.train_scored)


def test_every_image_is_as_likely_to_validate():
    counts = torch.zeros(100)
    for seed in range(1000):
        counts[split_images(100, seed).validation] += 1
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("batch_size", "steps"), [(32, 15), (64, 7), (128, 3), (256, 1)])
def test_an_epoch_has_floor_10_n_by_b_steps(batch_size, steps):
    # 50 images of each class: 500 // B.
    assert steps_per_epoch(BALANCED, batch_size) == steps
    batches = epoch_batches(whole(500), BALANCED, 1, 0, batch_size)
    assert batches.shape == (steps, batch_size) and batches.dtype == torch.int64


@pytest.mark.parametrize("batch_size", CLASSES["batch_size"])
def test_enough_images_are_enough_and_not_many_more(batch_size):
    n, needed = enough_images(batch_size), -(-batch_size // 10)
    for luck in (stats.hypergeom(10 * n, n, n), stats.binom(n, 0.1)):  # of a balanced set's class, of a rare one
        assert 10 * luck.sf(n - needed) < 3e-4  # in a training
    assert stats.binom(n - 6, 0.1).sf(n - 6 - needed) > 1e-5


def test_no_image_twice_in_an_epoch():
    batches = epoch_batches(whole(500), BALANCED, 1, 0, 32)
    assert len(batches.unique()) == batches.numel() == 480


def test_only_training_images():
    split = split_images(500, 3)
    batches = epoch_batches(split, BALANCED, 3, 0, 32)
    assert set(batches.flatten().tolist()) <= set(split.train.tolist())
    n = int(torch.bincount(BALANCED[split.train]).min())
    assert len(batches) == 10 * n // 32


def test_classes_are_balanced_when_nothing_is_dropped():
    # 32 images of the rarest class, so 320 = 10 batches of 32, 32 of each class.
    labels = torch.arange(10, dtype=torch.uint8).repeat_interleave(32 + torch.arange(10))
    batches = epoch_batches(whole(len(labels)), labels, 1, 0, 32)
    assert batches.shape == (10, 32)
    assert torch.bincount(labels[batches.flatten()]).tolist() == [32] * 10
    assert len(batches.unique()) == 320


@pytest.mark.parametrize("epoch", [0, 1, 50])
def test_unbalanced_sets_give_the_rarest_classs_number(epoch):
    # 20 of each class: 200 // 64 = 3 batches, and 8 images, whatever their class, are dropped.
    batches = epoch_batches(whole(650), UNBALANCED, 1, epoch, 64)
    assert batches.shape == (3, 64)
    counts = torch.bincount(UNBALANCED[batches.flatten()], minlength=10)
    assert counts.max() <= 20 and counts.min() >= 12
    assert len(batches.unique()) == 192


def test_another_draw_and_order_each_epoch_and_seed():
    first = epoch_batches(whole(650), UNBALANCED, 1, 0, 64)
    assert torch.equal(first, epoch_batches(whole(650), UNBALANCED, 1, 0, 64))
    for seed, epoch in ((1, 1), (2, 0)):
        other = epoch_batches(whole(650), UNBALANCED, seed, epoch, 64)
        assert not torch.equal(first.sort().values, other.sort().values)
        assert not torch.equal(UNBALANCED[first], UNBALANCED[other])  # the order of the classes
        drawn, drawn_other = (set(b.flatten().tolist()) for b in (first, other))
        assert drawn != drawn_other


def test_all_images_of_a_class_are_equally_likely():
    counts = torch.zeros(650)
    for epoch in range(300):
        counts[epoch_batches(whole(650), UNBALANCED, 5, epoch, 32).flatten()] += 1
    for label in (4, 9):
        assert stats.chisquare(counts[label == UNBALANCED].numpy()).pvalue > 1e-3
    assert (counts > 0).all()


def test_batches_mix_the_classes():
    labels = BALANCED[epoch_batches(whole(500), BALANCED, 1, 0, 32)]
    assert min(len(np.unique(row)) for row in labels.numpy()) >= 6
    place = stats.spearmanr(np.arange(480), labels.flatten().numpy())
    assert place.pvalue > 1e-3


def test_too_few_images_are_no_step():
    assert steps_per_epoch(torch.arange(30, dtype=torch.uint8) % 10, 32) == 0
    assert steps_per_epoch(torch.arange(900, dtype=torch.uint8) % 9, 32) == 0  # one class is missing
