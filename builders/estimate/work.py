"""How much there is to compute: images x models and operations of trainings whose lengths are assumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from builders.estimate.image_counts import ImageCounts
from builders.plan.cost import forward_flop, training_flop
from builders.plan.trainings import PlannedTraining
from nws_data.space.architecture import Architecture

MEAN_EPOCHS = 50.0
"""Epochs of a training on average, where the cap does not bound them.

The design of this dataset counts 2.9e10 training images x models for the paper's 16,000 trainings, whose epochs have 35,800
images on average: 50.6 epochs each. No full-size population has been trained yet, so nobody knows better.
"""


@dataclass(frozen=True)
class Work:
    """What trainings take."""

    n_trainings: int = 0
    train_images: float = 0.0  # images x models that are trained on
    scored_images: float = 0.0  # images x models that evaluations score
    flop: float = 0.0  # operations of both
    seconds: float = 0.0  # of one worker; 0 without a speed

    def __add__(self, other: Work) -> Work:
        return Work(
            self.n_trainings + other.n_trainings,
            self.train_images + other.train_images,
            self.scored_images + other.scored_images,
            self.flop + other.flop,
            self.seconds + other.seconds,
        )


def assumed_epochs(epoch_cap: int, mean: float | None = None) -> float:
    """Return the epochs to count with: ``mean``, by default :data:`MEAN_EPOCHS`, but never more than the cap allows."""
    return min(float(epoch_cap), MEAN_EPOCHS if mean is None else mean)


def work_of(planned: PlannedTraining, counts: ImageCounts, epochs: float) -> Work:
    """Return what one training takes; raises ``BuildError`` when its images do not fill a batch."""
    hyperparameters = planned.hyperparameters
    architecture = Architecture.of(hyperparameters)
    trained = epochs * counts.epoch_images(hyperparameters.batch_size)
    scored = (epochs + 1) * counts.n_scored
    return Work(1, trained, scored, trained * training_flop(architecture) + scored * forward_flop(architecture))


def total(works: Iterable[Work]) -> Work:
    """Return the sum."""
    return sum(works, Work())
