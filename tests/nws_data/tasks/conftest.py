"""A dataset of 40 + 130 trainings whose accuracies and classes are worked out here, its weights mere ramps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nws_data.format.manifest import Manifest
from tests.conftest import TinyDataset, dataset_folder, make_record, stage, write

SIZES = {"fixed": 40, "random": 130}


def planted(folder: Path, population: str, index: int, accuracy: float) -> Path:
    """Stage a training whose final test accuracy is given; ``random`` has small nets that differ in depth_fc."""
    record = make_record(population, index)
    n = record.weights.shape[1]
    weights = np.arange(20, dtype=np.float32)[:, None] + np.linspace(0, 1, n, dtype=np.float32)
    if population == "fixed" and index == 17:
        weights[-1, 5] = np.nan
    curve = (*record.test_accuracy[:-1], accuracy)
    path = folder / f"{record.training}.safetensors"
    replace(record, weights=weights, test_accuracy=curve).save(path)
    return path


@pytest.fixture(scope="session")
def task_dataset() -> TinyDataset:
    """Three of four trainings reach 90 %, the others 20 %; ``fixed-000017`` is not finite."""

    def make(folder: Path) -> None:
        for population, size in SIZES.items():
            write(
                folder / "nws",
                population,
                [planted(folder, population, i, 0.2 if i % 4 == 3 else 0.9) for i in range(size)],
            )

    folder = dataset_folder("tasks", make)
    staged = {population: stage(folder, population, range(size)) for population, size in SIZES.items()}
    return TinyDataset(folder / "nws", Manifest.load(folder / "nws"), staged)
