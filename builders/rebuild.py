"""One training again, alone, from its id: does it give the stored weights bit for bit?"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nws_data
from builders.engine.jobs import make_jobs
from builders.engine.local import run_jobs
from builders.engine.worker import WorkerSettings
from builders.images.prepare import ImageOptions, prepare_images
from builders.plan import plan_training
from builders.training.compute_path import compute_path
from nws_data.errors import BuildError, SelectionError
from nws_data.space.identity import parse_id
from nws_data.space.trajectory import CURVES
from nws_data.storage.manifest import Manifest
from nws_data.storage.records import TrainingRecord


@dataclass(frozen=True)
class RebuildReport:
    """How a training that was trained again compares with the stored one."""

    training: str
    first_different: int | None  # snapshot, None when all weights are identical
    largest_difference: float  # of a weight
    same_curves: bool
    elapsed_s: float

    @property
    def identical(self) -> bool:
        """Whether weights and learning curves are the same bit for bit."""
        return self.first_different is None and self.same_curves


def rebuild(folder: Path, training: str, images: ImageOptions) -> RebuildReport:
    """Train a training of a dataset again and compare it with what is stored; the dataset is not changed.

    Args:
        folder: the dataset.
        training: id of one of its trainings.
        images: the options that the dataset was built with.

    Raises:
        SelectionError: the dataset has no such training.
        BuildError: this machine, torch or the images are not those that the training was made with; says which.
    """
    started_s = time.monotonic()
    population, index = parse_id(training)
    data = nws_data.open(folder, population)
    rows = data.select(training=training) if training in data["training"] else None
    if rows is None:
        raise SelectionError(f"{folder} holds no training {training}; `nws info {folder}` shows what it holds")
    plan = Manifest.load(folder).populations[population].plan
    stored = rows.trainings().iloc[0]
    _check_path(training, stored["compute_path"], stored["torch_version"])
    names = [name for name, _ in plan["image_sets"]]
    planned = plan_training(population, index, plan["build_seed"], names, plan["batch_norm"])
    with tempfile.TemporaryDirectory() as temporary:
        bank, staging = Path(temporary, "images"), Path(temporary, "trainings")
        staging.mkdir()
        _check_images(bank, images, dict(plan["image_sets"])[stored["dataset"]], stored["dataset"])
        settings = WorkerSettings(bank, staging, plan["epoch_cap"], plan["precision"])
        run_jobs(make_jobs([planned]), settings, 1, lambda message: None)
        record = TrainingRecord.load(staging / f"{training}.safetensors")
    again = np.stack([rows.vector(i).numpy() for i in range(len(rows))])
    return _compare(record, again, stored, time.monotonic() - started_s)


def _check_path(training: str, path: str, torch_version: str) -> None:
    """Raise ``BuildError`` unless this process computes as the training was computed."""
    if path != compute_path():
        raise BuildError(f"{training} was computed on path {path}, this machine has {compute_path()}: the bits would differ")
    if torch_version != torch.__version__:
        raise BuildError(
            f"{training} was computed with torch {torch_version}, this is {torch.__version__}; install that version"
        )


def _check_images(bank: Path, images: ImageOptions, digest: str, name: str) -> None:
    """Prepare the images; raise ``BuildError`` unless the named set is the one of the plan."""
    found = {item.name: item.digest for item in prepare_images(bank, images)}
    if found.get(name) != digest:
        what = "is not among --images" if name not in found else "differs: give the same --train-images and --test-images"
        raise BuildError(f"the dataset was built with image set {name} ({digest[:12]}...), which {what}")


def _compare(record: TrainingRecord, stored_weights: np.ndarray, stored: Any, elapsed_s: float) -> RebuildReport:
    """Compare bits, so that NaN equals NaN."""
    different = (record.weights.view(np.uint32) != stored_weights.view(np.uint32)).any(axis=1)
    with np.errstate(invalid="ignore"):
        largest = float(np.nanmax(np.abs(record.weights - stored_weights), initial=0.0))
    same_curves = all(tuple(stored[name]) == getattr(record, name) for name in CURVES)
    first = int(different.argmax()) if different.any() else None
    return RebuildReport(record.training, first, largest, same_curves, elapsed_s)
