"""Results against the dataset they name: its digest, what each task tests on there, and their predictions scored again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.leaderboard.files.json_text import difference
from benchmarks.leaderboard.files.results import Result, ResultError, SeedRun, as_json, prediction_name, test_fields
from nws_data.errors import NWSError
from nws_data.format.manifest import Manifest
from nws_data.hashing import file_sha256
from nws_data.tasks.scores import ClassificationScore, Score, pool
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import load_task

_task = lru_cache(maxsize=8)(load_task)


def check_against_data(result: Result, root: Path) -> None:
    """Derive a result's test set from the dataset again: digest, trainings, items, classes, chance, sums of targets.

    Raises:
        ResultError: the first field that differs.
        FormatError: no dataset.
    """
    population = parse_task(result.task).family.population
    manifest = Manifest.load(root)
    if population not in manifest.populations:
        raise ResultError(f"the dataset {root} has no population {population}")
    digest = manifest.population_digest(population)
    if result.data_digest != digest:
        raise ResultError(f"data_digest is {result.data_digest[:12]}..., {population} in {root} is {digest[:12]}...")
    try:
        expected = _any_score(result.task, result.folds, root)
    except NWSError as error:
        raise ResultError(str(error)) from error
    source = f"the dataset {root}"
    if found := difference(result.test, test_fields(expected), "test", source):
        raise ResultError(found)
    for run in result.runs:
        if isinstance(run.score, ClassificationScore) and isinstance(expected, ClassificationScore):
            found_items, items = (np.sum(score.confusion, axis=1).tolist() for score in (run.score, expected))
            if found := difference(found_items, items, f"items of each class in the confusion of seed {run.seed}", source):
                raise ResultError(found)


def recompute(result: Result, root: Path, predictions: Path) -> bool:
    """Score a result's prediction files again; False where one of them is not there.

    Raises:
        ResultError: a file that is not the one whose SHA-256 the result has, or whose score differs from the result's.
    """
    for run, files in prediction_files(result, predictions):
        parts = []
        for (name, path), sha256 in zip(files, run.predictions_sha256, strict=True):
            if not path.is_file():
                return False
            if (found := file_sha256(path)) != sha256:
                raise ResultError(f"the SHA-256 of {path} is {found[:12]}..., the result's {sha256[:12]}...: another file")
            try:
                parts.append(_task(name, root).evaluate(path))
            except NWSError as error:
                raise ResultError(f"{path}: {error}") from error
        source, score = f"its prediction files in {predictions}", pool(parts)
        if odd := difference(as_json(run.score.to_dict()), as_json(score.to_dict()), f"score of seed {run.seed}", source):
            raise ResultError(odd)
    return True


@lru_cache(maxsize=256)
def _any_score(name: str, folds: int, root: Path) -> Score:
    """Return the score of all-zero predictions, for its fields that depend on the test set alone."""
    tasks = [_task(name, root) for name in test_sets(name, folds)]
    kind = np.float64 if tasks[0].kind == "regression" else np.int64
    return pool([task.evaluate(np.zeros(len(task.test), kind)) for task in tasks])


def test_sets(task: str, folds: int) -> tuple[str, ...]:
    """Return the names of the tasks behind a result: the task itself, or its folds."""
    spec = parse_task(task)
    return tuple(fold.name for fold in spec.folds()) if folds else (spec.name,)


def prediction_files(result: Result, folder: Path) -> list[tuple[SeedRun, list[tuple[str, Path]]]]:
    """Return each run of a result with its test sets and their prediction files in a folder."""
    known, sets = (result.task, result.folds, result.method, result.options), test_sets(result.task, result.folds)
    return [(run, [(name, folder / prediction_name(*known, name, run.seed)) for name in sets]) for run in result.runs]


def prediction_names(result: Result) -> list[str]:
    """Return the names of a result's prediction files, seed by seed, of each the test sets in order."""
    return [path.name for _, files in prediction_files(result, Path()) for _, path in files]
