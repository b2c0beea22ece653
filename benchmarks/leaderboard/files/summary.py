"""What several seeds give together: mean, standard deviation and the interval of the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nws_data.tasks.metrics import Interval, Sums, clustered_accuracy, clustered_regression
from nws_data.tasks.scores import ClassificationScore, RegressionScore, Score


def summarize(scores: Sequence[Score]) -> dict[str, Any]:
    """Return mean, standard deviation and interval over the seeds of every metric, and chance.

    The interval is that of the mean over seeds, clustered by training: it takes the mean of each training's counts. Of
    Kendall's tau, which no sums give, there is none.
    """
    found: dict[str, Any] = {"chance": chance(scores[0])}
    intervals = mean_intervals(scores)
    for name in ("accuracy",) if isinstance(scores[0], ClassificationScore) else ("r2", "mae", "kendall_tau"):
        values = [float(getattr(score, name)) for score in scores]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = {"mean": float(np.mean(values)), "std": spread}
        if name in intervals:
            found[name] |= {"low": intervals[name].low, "high": intervals[name].high}
    return found


def chance(score: Score) -> float | None:
    """Return the accuracy of guessing; None of a regression, where R² has 0 for guessing the mean."""
    return score.chance if isinstance(score, ClassificationScore) else None


def mean_intervals(scores: Sequence[Score]) -> dict[str, Interval]:
    """Return each metric's mean over seeds with the interval that the mean counts of the trainings give."""
    if isinstance(scores[0], ClassificationScore):
        return {"accuracy": clustered_accuracy(np.asarray(scores[0].n_items), mean_right(scores))}
    sums = [score.sums for score in scores if isinstance(score, RegressionScore)]
    means = Sums(sums[0].n, *(np.mean(values, axis=0) for values in list(zip(*sums, strict=True))[1:]))
    r2, mae = clustered_regression(means)
    return {"r2": r2, "mae": mae}


def mean_right(scores: Sequence[Score]) -> np.ndarray:
    """Return how many items of each training were right, float64 ``(trainings,)``: the mean over seeds."""
    return np.mean([score.n_right for score in scores if isinstance(score, ClassificationScore)], axis=0)
