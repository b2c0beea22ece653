"""A dataset of random numbers to measure loading with: real files of the real writer, no trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.made_up import BUILD_SEED, made_up_facts, write_made_up
from nws_data.format.records import TrainingFacts
from nws_data.read.dataset import NWSDataset
from nws_data.read.dataset import open as open_dataset
from nws_data.space.hyperparameters import IMAGE_SETS, Population, sample_hyperparameters
from nws_data.space.identity import training_seed
from nws_data.space.trajectory import N_SNAPSHOTS


def write_random_dataset(
    root: Path, n_trainings: int, population: Population = "fixed", shard_nbytes: int = 64_000_000
) -> NWSDataset:
    """Write ``n_trainings`` random trainings of Table 1 (7.4 MB each for ``fixed``) as a dataset and open it."""
    facts = []
    for index in range(n_trainings):
        seed = training_seed(BUILD_SEED, population, index)
        accuracies = np.random.default_rng(seed).random(N_SNAPSHOTS).tolist()
        facts.append(made_up_facts(population, index, sample_hyperparameters(seed, population), accuracies))
    write_made_up(root, population, facts, _weights, IMAGE_SETS, (shard_nbytes,))
    return open_dataset(root, population)


def _weights(facts: TrainingFacts) -> np.ndarray:
    rng = np.random.default_rng(facts.seed)
    return rng.standard_normal((N_SNAPSHOTS, facts.architecture.n_weights), np.float32)
