"""A small bank of real digits and made-up colour images, and trainings of the smallest architecture on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from builders.compute.compute_path import enter_compute_path
from builders.images.arrays import image_arrays, limit_images
from builders.images.bank import ImageBank, write_bank
from builders.images.sources import load_images
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import EpochSampler, ImageSplit
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.identity import training_id, training_seed

SMALLEST = {"filter_size": 3, "depth_conv": 3, "depth_fc": 3, "width_conv": 16, "width_fc": 64}


def hyperparameters(**changes) -> HyperParameters:
    """The smallest architecture on digits, Glorot, ReLU and Adam, but for the changes."""
    values = {
        "dataset": "digits",
        "learning_rate": 0.002,
        "batch_size": 32,
        "augmentation": False,
        "optimizer": "adam",
        "activation": "relu",
        "initialization": "glorot_uniform",
    }
    return HyperParameters(**(values | SMALLEST | changes))


def epoch_batches(split: ImageSplit, labels: Tensor, seed: int, epoch: int, batch_size: int) -> Tensor:
    """The batches of one epoch."""
    return EpochSampler(split, labels, seed, batch_size).batches(epoch)


def planned(index: int, build_seed: int = 0, **changes) -> PlannedTraining:
    """A planned training with :func:`hyperparameters`."""
    seed = training_seed(build_seed, "random", index)
    return PlannedTraining(training_id("random", index), seed, hyperparameters(**changes))


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ImageBank:
    """``digits``: 100 gray training and 30 test images; ``colour``: 120 and 20 whose brightness tells the class a little.

    So the epochs of ``colour`` have more steps, and trainings that start together end at different times.
    """
    folder = tmp_path_factory.mktemp("bank")
    rng = np.random.default_rng(0)
    parts = []
    for n in (120, 20):
        labels = np.arange(n) % 10
        images = rng.integers(0, 156, (n, 32, 32, 3)) + 10 * labels[:, None, None, None]
        parts.append((images.astype(np.uint8), labels))
    write_bank(folder, [limit_images(load_images("digits"), 100, 30), image_arrays("colour", *parts, "made up")])
    return ImageBank.open(folder)


@pytest.fixture
def worker_path() -> Iterator[None]:
    """Compute as the workers do: one thread, denormals as zeros."""
    threads = torch.get_num_threads()
    enter_compute_path()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
