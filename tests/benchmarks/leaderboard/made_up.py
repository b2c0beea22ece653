"""Results with made-up counts, written out by hand, for tests that need no dataset."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.leaderboard.files.results import Result, SeedRun
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import split_of, training_id
from nws_data.tasks.metrics import Sums
from nws_data.tasks.scores import ClassificationScore, RegressionScore
from nws_data.tasks.table import parse_task

HARDWARE = {"processor": "test", "cores": 2, "threads": 1, "memory_bytes": 8_000_000_000, "gpu": None}


def ids_to_test(population: str, n: int, start: int = 0, folds: int = 0) -> tuple[str, ...]:
    """The first trainings of a population from a plan index on that a task tests on: with folds all of them."""
    every = (training_id(population, index) for index in itertools.count(start))
    return tuple(itertools.islice((i for i in every if folds or split_of(i) == "test"), n))


def class_score(right: Sequence[int], population: str = "fixed", start: int = 0, folds: int = 0) -> ClassificationScore:
    """Two classes, half of the trainings each; four numbers of right ones in ten.

    Of ``fixed`` each number stands for ten trainings of one item, of ``random`` for five trainings of ten windows.
    """
    if population == "fixed":
        n_items, n_right = 1, [int(i < n) for n in right for i in range(10)]
    else:
        n_items, n_right = 10, [n for n in right for _ in range(5)]
    n = len(n_right) // 2
    a, b, items = sum(n_right[:n]), sum(n_right[n:]), n * n_items
    trainings = ids_to_test(population, 2 * n, start, folds)
    confusion = [[a, items - a], [items - b, b]]
    return ClassificationScore.from_counts(("False", "True"), confusion, trainings, [n_items] * 2 * n, n_right)


def number_score(error: float) -> RegressionScore:
    """Targets 1, 2, 3, 4, 1, 2, 3, 4, one of each training, all missed by ``error``."""
    target, e = np.tile([1.0, 2.0, 3.0, 4.0], 2), np.full(8, error)
    sums = Sums(np.ones(8, np.int64), target, target**2, e**2, np.abs(e))
    return RegressionScore.from_sums(0.5, ids_to_test("fixed", 8), sums)


def task_score(task: str, right: Sequence[int]) -> ClassificationScore:
    """One item of each training, whose class is the next in turn; ``right`` says which are predicted right."""
    spec = parse_task(task)
    classes = ("a", "b") if spec.target == "dataset" else tuple(map(str, CLASSES[spec.target]))
    n = len(classes)
    confusion = np.zeros((n, n), int)
    for i, value in enumerate(right):
        confusion[i % n, (i + 1 - value) % n] += 1
    ids = ids_to_test(spec.family.population, len(right))
    return ClassificationScore.from_counts(classes, confusion.tolist(), ids, [1] * len(right), right)


def make_result(
    scores: Sequence[Any], task: str = "global/augmentation", method: str = "svm-linear-16", **changes: Any
) -> Result:
    """A result with one seed a score."""
    folds = changes.get("folds", 0)
    digests = tuple(f"{i:064x}" for i in range(folds or 1))
    runs = tuple(
        SeedRun(seed=i, score=s, n_parameters=17, fit_s=1.5, predict_s=0.25, predictions_sha256=digests)
        for i, s in enumerate(scores)
    )
    values: dict[str, Any] = {
        "task": task,
        "official": not folds,
        "folds": 0,
        "method": method,
        "options": {"penalty": 1.0},
        "data_digest": "a" * 64,
        "runs": runs,
        "hardware": HARDWARE,
        "versions": {"python": "3.11.0"},
        "commit": {"id": "b" * 40, "dirty": False},
        "finished_at": "2026-01-01T00:00:00Z",
    }
    return Result(**values | changes)
