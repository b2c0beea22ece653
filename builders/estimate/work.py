"""How much there is to compute: images x models and operations of trainings whose lengths are assumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from builders.estimate.image_counts import ImageCounts
from builders.plan.cost import forward_flop, training_flop
from builders.plan.trainings import PlannedTraining
from nws_data.space.architecture import Architecture

MEAN_EPOCHS = 50.0
"""Epochs of a training on average, where the cap does not bound them.

The design of this dataset counts 2.9e10 training images x models for the paper's 16,000 trainings, whose epochs have 35,800
images on average: 50.6 epochs each. No full-size population has been trained yet.
"""

IMAGE_FLOP, AUGMENTED_FLOP = 3e7, 1e7
"""What an image that is trained on, and one that is augmented, takes beside its network's operations, in operations.

Measured on a core of an AMD EPYC 9005: with them the time of a shape is proportional to its cost but for 14 % in float32 and
25 % in bfloat16 (48 shapes of 11 to 126 GFLOP/s); the network's operations alone leave 91 %.
"""


@dataclass(frozen=True)
class Work:
    """What trainings take."""

    n_trainings: int = 0
    train_images: float = 0.0  # images x models that are trained on
    scored_images: float = 0.0  # images x models that evaluations score
    flop: float = 0.0  # operations of both
    cost: float = 0.0  # those and IMAGE_FLOP: what time is proportional to

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def assumed_epochs(epoch_cap: int, mean: float | None = None) -> float:
    """Return the epochs to count with: ``mean``, by default :data:`MEAN_EPOCHS`, but never more than the cap allows."""
    return min(float(epoch_cap), MEAN_EPOCHS if mean is None else mean)


def work_of(planned: PlannedTraining, counts: ImageCounts, epochs: float) -> Work:
    """Return what one training takes; raises ``BuildError`` when its images do not fill a batch."""
    trained = epochs * counts.epoch_images(planned.hyperparameters.batch_size)
    return work_of_images(planned, trained, (epochs + 1) * counts.n_scored)


def work_of_images(planned: PlannedTraining, trained: float, scored: float) -> Work:
    """Return what it takes to train a planned network on so many images, and to score so many."""
    architecture = Architecture.of(planned.hyperparameters)
    flop = trained * training_flop(architecture) + scored * forward_flop(architecture)
    beside = IMAGE_FLOP + AUGMENTED_FLOP * planned.hyperparameters.augmentation
    return Work(1, trained, scored, flop, flop + trained * beside)


def total(works: Iterable[Work]) -> Work:
    """Return the sum."""
    return sum(works, Work())
