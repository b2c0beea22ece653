"""Entries checked again, as CI does it: scores recomputed from the prediction files, as far as the data are there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.leaderboard.files.against_data import check_against_data, prediction_files, prediction_names, recompute
from benchmarks.leaderboard.files.results import Result, ResultError
from benchmarks.leaderboard.submission.entry import PREDICTIONS_FOLDER, EntryError, read_entry
from nws_data.errors import NWSError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.tasks.predictions import Predictions
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import parse_task

SCORED, COUNTED, COUNTS = "predictions", "predictions, not scored", "counts"
"""How far a result was checked: its predictions were scored on the data again; they agree with its counts, but without the
data nobody sees which are right; there are none, and its counts agree with each other."""


def check_entry(folder: Path, data: Path | None = None) -> list[tuple[Result, str]]:
    """Check an entry; returns each result with how it was checked, :data:`SCORED`, :data:`COUNTED` or :data:`COUNTS`.

    Given the dataset they are checked on it, and refused where they are not of it.

    Raises ``ResultError`` with the first thing that is wrong, ``FormatError`` where ``data`` is no dataset.
    """
    entry, results = read_entry(folder)
    named = {name for name in entry.files if name.startswith(f"{PREDICTIONS_FOLDER}/")}
    checked = []
    for result in results:
        names = prediction_names(result)
        there = [name for name in names if f"{PREDICTIONS_FOLDER}/{name}" in named]
        if there and len(there) < len(names):
            raise EntryError(f"{result.path}: of its {len(names)} prediction files {len(there)} are there; give all or none")
        if result.from_predictions and not there:
            raise EntryError(f"{result.path}: made from prediction files, which are not there")
        named -= {f"{PREDICTIONS_FOLDER}/{name}" for name in there}
        try:
            checked.append((result, _check(result, folder / PREDICTIONS_FOLDER if there else None, data)))
        except ResultError as error:
            raise EntryError(f"{result.path}: {error}") from error
    if named:
        raise EntryError(f"{sorted(named)[0]} belongs to none of the results")
    return checked


def has_data(result: Result, data: Path) -> bool:
    """Whether a folder holds the dataset that a result is of."""
    if not (data / MANIFEST).is_file():
        return False
    manifest, population = Manifest.load(data), parse_task(result.task).family.population
    return population in manifest.populations and manifest.population_digest(population) == result.data_digest


def _check(result: Result, predictions: Path | None, data: Path | None) -> str:
    if predictions is not None:
        check_counts(result, predictions)
    if data is None:
        return COUNTED if predictions else COUNTS
    check_against_data(result, data)
    return SCORED if predictions is not None and recompute(result, data, predictions) else COUNTS


def check_counts(result: Result, folder: Path) -> None:
    """Compare prediction files with a result, without the data: task, digest, trainings, items, and how often each class.

    Raises ``ResultError`` for the first difference.
    """
    for run, files in prediction_files(result, folder):
        items, classes = Counter[str](), Counter[str]()
        for name, path in files:
            try:
                predictions = Predictions.load(path)
            except NWSError as error:
                raise ResultError(str(error)) from error
            if (predictions.task, predictions.data_digest) != (name, result.data_digest):
                raise ResultError(f"{path.name} is of the task {predictions.task}, data {predictions.data_digest[:12]}")
            keys = list(zip(*(column.tolist() for column in predictions.keys.values()), strict=True))
            if len(set(keys)) < len(keys):
                raise ResultError(f"{path.name} predicts the same item twice")
            items.update(predictions.keys["training"].tolist())
            classes.update(predictions.values.tolist())
        score = run.score
        if dict(items) != dict(zip(score.trainings, score.n_items, strict=True)):
            raise ResultError(f"the prediction files of seed {run.seed} are about other items than test names")
        if isinstance(score, ClassificationScore):
            counted = [sum(row[i] for row in score.confusion) for i in range(len(score.classes))]
            if dict(classes) != {name: n for name, n in zip(score.classes, counted, strict=True) if n}:
                raise ResultError(f"the confusion of seed {run.seed} and its prediction files count the classes differently")
