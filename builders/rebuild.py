"""One training again, alone, from its id: does it give the stored weights bit for bit?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nws_data
from builders.compute.backend import BACKENDS
from builders.compute.compute_path import backend_of, path_of
from builders.images.prepare import ImageOptions, prepare_recorded, recorded_images
from builders.plan.jobs import make_jobs
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.run.local import run_jobs
from builders.run.progress import BuildProgress, flop_per_epoch
from builders.run.worker import WorkerSettings
from nws_data.errors import BuildError, SelectionError
from nws_data.format.manifest import Manifest
from nws_data.format.records import TrainingRecord
from nws_data.randomness import GENERATOR
from nws_data.read.dataset import NWSDataset
from nws_data.space.hyperparameters import COLUMNS, SAMPLING
from nws_data.space.identity import parse_id
from nws_data.space.trajectory import CURVES


@dataclass(frozen=True)
class RebuildReport:
    """How a training that was trained again compares with the stored one."""

    training: str
    compute_path: str
    snapshots: tuple[int, ...]  # that the dataset holds, and so are compared
    first_different: int | None  # snapshot, None when all weights are identical
    n_different: int  # weights that differ, of all these snapshots
    largest_difference: float  # of a weight
    same_curves: bool
    elapsed_s: float

    @property
    def identical(self) -> bool:
        """Whether weights and learning curves are the same bit for bit."""
        return self.first_different is None and self.same_curves


def rebuild(folder: Path, training: str, images: ImageOptions, out: Path | None = None) -> RebuildReport:
    """Train a training of a dataset again and compare it with what is stored; the dataset is not changed.

    ``images`` are the options that it was built with; ``out`` is a file for the rebuilt training, in the form of a builder's
    staging file.

    Raises:
        SelectionError: the dataset has no such training.
        BuildError: this machine, torch or the images are not those that the training was made with; says which.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    started_s = time.monotonic()
    rows = _rows(folder, training)
    manifest = Manifest.load(folder)
    plan = manifest.populations[parse_id(training)[0]].plan
    stored = rows.trainings().iloc[0]
    backend = _check_origin(training, plan, stored)
    planned = _planned(rows, training, plan, stored)
    with tempfile.TemporaryDirectory(prefix="nws-rebuild-") as temporary:
        folder, staging = Path(temporary, "images"), Path(temporary, "trainings")
        staging.mkdir()
        bank = prepare_recorded(folder, manifest, stored["dataset"], images)
        settings = WorkerSettings(folder, staging, plan["epoch_cap"], plan["precision"], BACKENDS[backend].device, backend)
        work, n_epochs = flop_per_epoch(planned, bank), int(stored["n_epochs"])
        with BuildProgress(training, {training: work}, 0, n_epochs, n_epochs) as progress:
            run_jobs(make_jobs([planned]), settings, 1, progress.report)
        record = TrainingRecord.load(staging / f"{training}.safetensors")
    if out is not None:
        record.save(out)
    weights = np.stack([rows.vector(i).numpy() for i in range(len(rows))])
    return _compare(record, weights, rows["snapshot"].tolist(), stored, time.monotonic() - started_s)


def images_of(folder: Path, training: str, sources: Sequence[str] | None = None) -> ImageOptions:
    """Return the image options that a dataset records for a training, as far as it does; ``sources`` is what a person says.

    Raises ``SelectionError`` when the dataset has no such training, and what :func:`recorded_images` raises.
    """
    return recorded_images(Manifest.load(folder), str(_rows(folder, training)["dataset"][0]), sources)


def _rows(folder: Path, training: str) -> NWSDataset:
    population, _ = parse_id(training)
    data = nws_data.open(folder, population)
    if training not in data["training"]:
        raise SelectionError(
            f"{folder} holds no training {training}; `nws info {folder}` shows what it holds, `nws verify {folder}` whether "
            "a shard is missing"
        )
    return data.select(training=training)


def _check_origin(training: str, plan: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Return the backend that a training was computed with; raise ``BuildError`` unless this process computes the same."""
    path, theirs = stored["compute_path"], "use the version that built it (column nws_version of metadata/provenance)"
    if plan.get("build_seed") is None:
        raise BuildError(f"{training} was imported: no plan says how it was trained, so it cannot be trained again")
    if stored["device"] != "cpu" and not torch.cuda.is_available():
        device = stored["device"]
        raise BuildError(f"{training} was computed on {device} (path {path}); torch finds no GPU here; use such a machine")
    if (backend := backend_of(path)) is None:
        raise BuildError(f"{training} was computed on path {path}, which this version does not compute any more; {theirs}")
    for what, made_with, mine, advice in (
        ("sampling", plan.get("sampling"), SAMPLING, theirs),
        ("generator", plan.get("generator"), GENERATOR, theirs),
        ("path", path, path_of(backend, plan["precision"]), "the bits would differ"),
        ("torch", stored["torch_version"], torch.__version__, "install that version"),
    ):
        if made_with != mine:
            raise BuildError(f"{training} was made with {what} {made_with}, here it is {mine}: {advice}")
    return backend


def _planned(rows: NWSDataset, training: str, plan: Mapping[str, Any], stored: Mapping[str, Any]) -> PlannedTraining:
    """Return the training as its plan draws it; raises ``BuildError`` when the dataset's columns say otherwise."""
    names = [name for name, _ in plan["image_sets"]]
    population, index = parse_id(training)
    planned = next(plan_trainings(population, index + 1, plan["build_seed"], names, plan["batch_norm"], first=index))
    drawn = planned.hyperparameters.to_dict() | {"seed": planned.seed}
    found = {name: rows[name][0] for name in COLUMNS} | {"seed": stored["seed"]}
    if different := [name for name in drawn if drawn[name] != found[name]]:
        raise BuildError(
            f"{training}: its plan draws {', '.join(f'{name} {drawn[name]}' for name in different)}, the dataset says "
            f"{', '.join(str(found[name]) for name in different)}; see `nws verify`"
        )
    return planned


def _compare(
    record: TrainingRecord, stored_weights: np.ndarray, snapshots: list[int], stored: Any, elapsed_s: float
) -> RebuildReport:
    """Compare bits, so that NaN equals NaN."""
    weights = record.weights[snapshots]
    different = weights.view(np.uint32) != stored_weights.view(np.uint32)
    with np.errstate(invalid="ignore"):
        largest = float(np.nanmax(np.abs(weights - stored_weights), initial=0.0))
    rows = different.any(axis=1)
    return RebuildReport(
        training=record.training,
        compute_path=record.compute_path,
        snapshots=tuple(snapshots),
        first_different=snapshots[rows.argmax()] if rows.any() else None,
        n_different=int(different.sum()),
        largest_difference=largest,
        same_curves=all(tuple(stored[name]) == getattr(record, name) for name in CURVES),
        elapsed_s=elapsed_s,
    )
