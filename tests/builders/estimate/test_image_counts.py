"""Counts of images against the image sets and what the trainer makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builders.estimate.calibration import Work, work_of
from builders.estimate.estimate import MEAN_EPOCHS
from builders.estimate.image_counts import OFFICIAL, ImageCounts, image_counts
from builders.images.prepare import ImageOptions
from builders.images.sources import load_images
from builders.plan.trainings import plan_trainings
from builders.recipe.epochs import split_images, steps_per_epoch
from nws_data.errors import BuildError
from nws_data.space.hyperparameters import IMAGE_SETS


def test_the_five_sets_need_no_files(tmp_path):
    found = image_counts(ImageOptions(sources=IMAGE_SETS, root=tmp_path))
    assert {s.name: (s.n_train, s.n_test) for s in found} == {
        "mnist": (55_000, 10_000),
        "cifar10": (45_000, 10_000),
        "svhn": (73_257, 26_032),
        "stl10": (5_000, 8_000),
        "fashion_mnist": (55_000, 10_000),
    }
    assert all(s.rarest <= s.n_train // 10 for s in found)


def test_others_are_counted_and_all_are_limited():
    labels = load_images("digits").train_labels
    (digits,) = image_counts(ImageOptions(sources=("digits",)))
    assert (digits.n_train, digits.rarest) == (1_438, np.bincount(labels).min())
    (limited,) = image_counts(ImageOptions(sources=("mnist",), n_train=1_000, n_test=200))
    assert (limited.n_train, limited.n_test, limited.rarest) == (1_000, 200, 100)
    assert limited.nbytes == 1_200 * 1_025
    assert limited.n_scored == 100 + 100 + 200


def test_an_epoch_is_about_what_the_trainer_makes_of_it():
    labels = torch.arange(2_000) % 10
    counts = ImageCounts("even", 2_000, 100, 200)
    for batch_size in (32, 64, 128, 256):
        steps = [steps_per_epoch(labels[split_images(2_000, seed).train], batch_size) for seed in range(40)]
        assert counts.epoch_images(batch_size) == pytest.approx(np.mean(steps) * batch_size, rel=0.03)
    with pytest.raises(BuildError, match="even has too few images"):
        ImageCounts("even", 200, 100, 20).epoch_images(256)


@pytest.mark.slow
def test_the_papers_dataset_is_what_the_design_says():
    whole = Work()
    for name, n in (("fixed", 3_000), ("random", 13_000)):
        for planned in plan_trainings(name, n, 0, IMAGE_SETS):
            counts = OFFICIAL[planned.hyperparameters.dataset]
            trained = MEAN_EPOCHS * counts.epoch_images(planned.hyperparameters.batch_size)
            whole += work_of(planned, trained, (MEAN_EPOCHS + 1) * counts.n_scored)
    assert whole.train_images == pytest.approx(2.9e10, rel=0.02)
    # The design's 1.4e10 leaves out the training images that are scored, a fifth of the evaluated ones.
    assert whole.scored_images == pytest.approx(1.81e10, rel=0.02)
    assert whole.flop == pytest.approx(8.75e17, rel=0.08)
