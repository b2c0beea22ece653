"""A dataset of random numbers to measure loading with: real files of the real writer, no trainings."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from nws_data.format.records import TrainingRecord
from nws_data.read.dataset import NWSDataset
from nws_data.read.dataset import open as open_dataset
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import IMAGE_SETS, Population, sample_hyperparameters
from nws_data.space.identity import training_id, training_seed
from nws_data.space.image_sets import ImageSet, threshold_of
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.write.writer import write_population

_BUILD_SEED = 0


def random_record(population: str, index: int) -> TrainingRecord:
    """Return a training of Table 1 whose weights and accuracies are random numbers."""
    seed = training_seed(_BUILD_SEED, population, index)
    hyperparameters = sample_hyperparameters(seed, population)
    rng = np.random.default_rng(seed)
    n = Architecture.of(hyperparameters).n_weights
    curves = {f"{name}_accuracy": tuple(rng.random(N_SNAPSHOTS).tolist()) for name in ("train", "validation", "test")}
    return TrainingRecord(
        training=training_id(population, index),
        seed=seed,
        hyperparameters=hyperparameters,
        snapshot_epochs=tuple(range(N_SNAPSHOTS)),
        snapshot_stride=1,
        stop_reason="cap",
        generator="none",
        compute_path="random numbers",
        precision="float32",
        device="none",
        torch_version="none",
        wall_s=0.0,
        finished_at="1970-01-01T00:00:00Z",
        host="none",
        nws_version="none",
        python_version="none",
        weights=rng.standard_normal((N_SNAPSHOTS, n), np.float32),
        **curves,
    )


def write_random_dataset(
    root: Path, n_trainings: int, population: Population = "fixed", shard_nbytes: int = 64_000_000
) -> NWSDataset:
    """Write ``n_trainings`` random trainings (7.4 MB each for ``fixed``) as a dataset and open it."""
    with tempfile.TemporaryDirectory(dir=root.parent) as staging:
        paths = [Path(staging) / f"{index}.safetensors" for index in range(n_trainings)]
        for index, path in enumerate(paths):
            random_record(population, index).save(path)
        image_sets = [
            ImageSet(name=name, threshold=threshold_of(name), source="none", n_train=1, n_test=1, digest="")
            for name in IMAGE_SETS
        ]
        write_population(
            root,
            population=population,
            plan={"build_seed": _BUILD_SEED},
            image_sets=image_sets,
            records=paths,
            card_template="",
            shard_sizes=(shard_nbytes,),
        )
    return open_dataset(root, population)
