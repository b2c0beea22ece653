"""Trainings that nobody trained: datasets of made-up weights, by the writer of datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nws_data.format.records import TrainingFacts
from nws_data.format.shards import SHARD_SIZES
from nws_data.randomness import GENERATOR
from nws_data.read.dataset import NWSDataset
from nws_data.read.dataset import open as open_dataset
from nws_data.space.hyperparameters import IMAGE_SETS, HyperParameters, sample_many
from nws_data.space.identity import training_id, training_seed
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import CURVES, N_SNAPSHOTS
from nws_data.write.writer import write_dataset

BUILD_SEED = 0
_RANDOM_SHARD = 64_000_000  # bytes


@dataclass(frozen=True)
class _MadeUp:
    """A training as the writer asks for it; see :class:`nws_data.write.sources.Source`."""

    facts: TrainingFacts
    make: Callable[[TrainingFacts], np.ndarray]
    origin: str = "made up"
    fingerprint: None = None
    files: Sequence[Path] = ()

    def weights(self) -> np.ndarray:
        return self.make(self.facts)


def made_up_facts(
    population: str, index: int, hyperparameters: HyperParameters, accuracies: Sequence[float]
) -> TrainingFacts:
    """Return a training of 19 epochs, all of whose curves are ``accuracies``, 20 numbers in [0, 1]."""
    return TrainingFacts(
        training=training_id(population, index),
        seed=training_seed(BUILD_SEED, population, index),
        hyperparameters=hyperparameters,
        snapshot_epochs=tuple(range(N_SNAPSHOTS)),
        snapshot_stride=1,
        stop_reason="cap",
        generator=GENERATOR,
        compute_path="none",
        precision="float32",
        device="none",
        torch_version="none",
        wall_s=0.0,
        finished_at="2026-01-01T00:00:00Z",
        host="none",
        nws_version="none",
        python_version="none",
        **dict.fromkeys(CURVES, tuple(accuracies)),
    )


def write_made_up(
    root: Path,
    population: str,
    trainings: Iterable[TrainingFacts],
    weights: Callable[[TrainingFacts], np.ndarray],
    image_sets: Iterable[str],
    shard_sizes: Sequence[int] = SHARD_SIZES,
) -> None:
    """Write a population into a folder; ``weights`` gives those of a training, float32 ``(20, n_weights)``."""
    sets = [ImageSet(name=s, threshold=0.5, source="made up", n_train=1, n_test=1, digest="0" * 64) for s in image_sets]
    plan = {"build_seed": BUILD_SEED, "image_sets": [[s.name, s.digest] for s in sets]}
    write_dataset(
        root,
        populations={population: (plan, [_MadeUp(facts, weights) for facts in trainings])},
        image_sets=sets,
        card_template="",
        shard_sizes=shard_sizes,
    )


def write_random_dataset(root: Path, n_trainings: int) -> NWSDataset:
    """Write ``n_trainings`` random trainings of the fixed architecture (7.4 MB each) as a dataset and open it."""
    facts = []
    for index in range(n_trainings):
        seed = training_seed(BUILD_SEED, "fixed", index)
        accuracies = np.random.default_rng(seed).random(N_SNAPSHOTS).tolist()
        facts.append(made_up_facts("fixed", index, next(sample_many([seed], "fixed")), accuracies))

    def weights(facts: TrainingFacts) -> np.ndarray:
        shape = (N_SNAPSHOTS, facts.architecture.n_weights)
        return np.random.default_rng(facts.seed).standard_normal(shape, np.float32)

    write_made_up(root, "fixed", facts, weights, IMAGE_SETS, (_RANDOM_SHARD,))
    return open_dataset(root, "fixed")
