"""A dataset for runs of the benchmark."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import dataset_folder, make_record, write


@pytest.fixture(scope="session")
def dataset() -> Path:
    """76 random trainings above their thresholds; weights lie below 0 for mnist and above for digits."""
    return dataset_folder("bench", _write) / "nws"


def _write(folder: Path) -> None:
    staged = []
    for index in range(76):
        record = make_record("random", index)
        sign = 1 if record.hyperparameters.dataset == "digits" else -1
        weights = np.abs(np.nan_to_num(record.weights)) * np.float32(sign)
        curve = (*record.test_accuracy[:-1], 0.95)
        staged.append(folder / f"{record.training}.safetensors")
        replace(record, weights=weights, test_accuracy=curve).save(staged[-1])
    write(folder / "nws", "random", staged)
    for path in staged:
        path.unlink()
