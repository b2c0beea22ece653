"""A miniature of the benchmark: both populations with signals in the weights, and one official task of every family.

It is written by the writer of datasets in a second or two, 220 MB. All weights tell the targets, wherever a window lies and
whether a method looks at spread, at neighbours or at the raw values, so that a method which learns nothing here is broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.made_up import BUILD_SEED, made_up_facts, write_made_up
from nws_data.format.records import TrainingFacts
from nws_data.space.hyperparameters import CLASSES, LEARNING_RATE, HyperParameters, sample_many
from nws_data.space.identity import split_of, training_id, training_seed
from nws_data.space.trajectory import N_SNAPSHOTS

TARGETS = {"fixed": "augmentation", "random": "optimizer"}
"""The hyper-parameter that the weights of a population tell; in all of them the learning rate too."""

TRAIN_SET, TEST_SET = "mnist", "digits"
"""Image sets: held-out values are tested alone, so the test sides of a family with and without them are the same."""

TASKS = (
    "global/augmentation",
    "local/optimizer",
    "local-conv/optimizer",
    "local-fc/optimizer",
    "vote/optimizer",
    "regress/learning_rate",
    "regress-local/learning_rate",
    f"ood/augmentation/held={TEST_SET}",
    f"ood-local/optimizer/held={TEST_SET}",
)

_SIZES = {
    "fixed": {"train": 12, "validation": 2, "test": 10},
    "random": {"train": 18, "validation": 3, "test": 15},
}
"""Trainings of each side: five of every class are what a task needs."""

_NARROW = {"filter_size": 7, "depth_conv": 3, "width_conv": 16, "width_fc": 64}
"""Of ``random``, depth_fc as drawn: the smallest networks whose convolutional part holds a window of 5,000."""

_SCALE, _STEP = 0.04, 1.6
_CORRELATION = 0.4
_MEAN = 10.0
_SHIFT = 0.01


def _weights(facts: TrainingFacts) -> np.ndarray:
    """Return noise, float32 ``(20, n_weights)``, whose mean tells the rate.

    Its spread and correlation tell the target, and that convolutional weights lie above the mean, others below.
    """
    hyperparameters, n = facts.hyperparameters, facts.architecture.n_weights
    target = TARGETS[facts.population]
    level = CLASSES[target].index(getattr(hyperparameters, target))
    rng = np.random.default_rng(facts.seed)
    noise = rng.standard_normal(n + N_SNAPSHOTS + 1, dtype=np.float32)
    noise = noise[1:] + np.float32(_CORRELATION * level) * noise[:-1]
    noise *= np.float32(_SCALE * _STEP**level) / noise.std()
    noise += np.float32(_MEAN * hyperparameters.learning_rate)
    above = np.full(n, -_SHIFT * level, np.float32)
    above[: facts.architecture.n_weights_conv] *= -1
    return np.stack([noise[snapshot : snapshot + n] + above for snapshot in range(N_SNAPSHOTS)])


def write_miniature(root: Path) -> None:
    """Write both populations into a new folder; the same values on every machine."""
    for population, sizes in _SIZES.items():
        write_made_up(root, population, _trainings(population, sizes), _weights, (TRAIN_SET, TEST_SET))


def _trainings(population: str, sizes: Mapping[str, int]) -> Iterator[TrainingFacts]:
    """Yield the first trainings of the plan that fill each side; classes and learning rates take turns in it."""
    seen, index = Counter[str](), -1
    classes, (low, high) = CLASSES[TARGETS[population]], LEARNING_RATE
    accuracies = [0.1 + 0.8 * i / (N_SNAPSHOTS - 1) for i in range(N_SNAPSHOTS)]
    while seen != sizes:
        index += 1
        training = training_id(population, index)
        split = split_of(training)
        if seen[split] < sizes[split]:
            nth, seed = seen[split], training_seed(BUILD_SEED, population, index)
            drawn = next(sample_many([seed], population, (TEST_SET if split == "test" else TRAIN_SET,))).to_dict()
            drawn |= {TARGETS[population]: classes[nth % len(classes)], **(_NARROW if population == "random" else {})}
            drawn |= {"learning_rate": low + (high - low) * (0.618 * nth % 1)}  # spread evenly, whatever the class
            yield made_up_facts(population, index, HyperParameters.from_dict(drawn), accuracies)
            seen[split] += 1
