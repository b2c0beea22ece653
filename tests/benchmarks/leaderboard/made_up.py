"""Results with made-up counts, written out by hand, for tests that need no dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.leaderboard.files.results import Result, SeedRun
from nws_data.tasks.metrics import Sums
from nws_data.tasks.scores import ClassificationScore, RegressionScore

TRAININGS = ("fixed-000001", "fixed-000002", "fixed-000003", "fixed-000004")
HARDWARE = {"processor": "test", "cores": 2, "threads": 1, "memory_bytes": 8_000_000_000, "gpu": None}


def class_score(right: Sequence[int]) -> ClassificationScore:
    """Two classes, two trainings each, ten items a training, so many of them right."""
    a, b = sum(right[:2]), sum(right[2:])
    return ClassificationScore.from_counts(("x", "y"), [[a, 20 - a], [20 - b, b]], TRAININGS, [10] * 4, right)


def number_score(error: float) -> RegressionScore:
    """Targets 1, 2, 3, 4, one of each training, all missed by ``error``."""
    target, e = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, error)
    return RegressionScore.from_sums(0.5, TRAININGS, Sums(np.ones(4, np.int64), target, target**2, e**2, np.abs(e)))


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
