"""Two small populations whose weights carry known signals, written by the real writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from nws_data.format.records import TrainingRecord
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import split_of
from tests.conftest import IMAGE_SETS, dataset_folder, make_record, write
from tests.fuzz.mutants import copy

SIZES = {"fixed": 30, "random": 60}
TINY = {"filter_size": 3, "depth_conv": 3, "depth_fc": 3, "width_conv": 16, "width_fc": 64}
SCALES = {False: 0.05, True: 0.08}
"""Standard deviation of the weights by augmentation: every feature of spread tells."""


def planted_record(population: str, index: int, nth: int) -> TrainingRecord:
    """Return the nth training of its split.

    Augmentation sets the scale of all weights, learning rate their mean, and the image set batch norm's variances
    alone. Optimizers take turns and set nothing. All test accuracies pass, all other hyper-parameters are as drawn.
    """
    record = make_record(population, index)
    second = nth % 4 in (1, 2)
    chosen = {"augmentation": nth % 2 == 0, "dataset": IMAGE_SETS[second].name}
    chosen |= {"optimizer": CLASSES["optimizer"][nth % 3]}
    values = record.hyperparameters.to_dict() | (TINY if population == "random" else {}) | chosen
    hyperparameters = type(record.hyperparameters).from_dict(values)
    architecture = Architecture.of(hyperparameters)
    rng = np.random.default_rng(index)
    weights = rng.standard_normal((20, architecture.n_weights), dtype=np.float32) * SCALES[hyperparameters.augmentation]
    weights += np.float32(10 * hyperparameters.learning_rate)
    for layer in architecture.layers:
        if layer.has_norm:
            weights[:, layer["variance"].slice] += np.float32(second)
    curve = (*record.test_accuracy[:-1], 0.99)
    return replace(record, hyperparameters=hyperparameters, weights=weights, test_accuracy=curve)


def write_planted(folder: Path, populations: Iterable[str] = tuple(SIZES)) -> Path:
    """Link the populations (both: 320 MB) into a folder and return the dataset's, ``folder / "nws"``."""
    (folder / "nws").symlink_to(_planted(*populations))
    return folder / "nws"


def _planted(*populations: str) -> Path:
    return dataset_folder(f"planted-{'-'.join(populations)}", lambda folder: _write(folder, *populations)) / "nws"


def _write(folder: Path, *populations: str) -> None:
    *before, population = populations
    if before:  # links are enough: the writer adds shards and changes none
        copy(_planted(*before), folder / "nws")
    staged, seen = [], Counter[str]()
    for index in range(SIZES[population]):
        split = split_of(f"{population}-{index:06d}")
        record = planted_record(population, index, seen[split])
        seen[split] += 1
        staged.append(folder / f"{record.training}.safetensors")
        record.save(staged[-1])
    write(folder / "nws", population, staged)
    for path in staged:
        path.unlink()
