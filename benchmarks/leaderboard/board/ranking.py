"""Ranks of methods that have run on the same tasks: mean rank and win rate, with intervals for other test trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.leaderboard.files.results import mean_right, mean_sums
from nws_data.tasks.metrics import Interval, Sums, r2_of, resampled_trainings
from nws_data.tasks.scores import ClassificationScore, Score

_DECIMALS = 9
"""Scores that agree so far are equal: sums of floats differ beyond."""


@dataclass(frozen=True)
class Rank:
    """Where a method stands among others."""

    place: int  # 1 is the best; methods of equal mean rank share a place
    mean: Interval  # of its ranks on the tasks, in [1, methods]
    win_rate: Interval  # share of comparisons with another method on a task that it wins, in [0, 1]; ties count half


def rank_methods(rows: Mapping[str, Sequence[Sequence[Score]]]) -> dict[str, Rank]:
    """Rank methods by the mean of their ranks on tasks; equal scores on a task share the mean of their ranks.

    The win rate says the same on a scale that does not depend on how many methods there are: with ``m`` of them it is
    ``(m - mean rank) / (m - 1)``.

    The 95 % intervals are percentiles of a bootstrap over test trainings, the same ones for all methods and tasks of a
    sample, so that differences are paired. Tasks are not resampled: a suite is defined by its tasks, which are no sample of
    others. Scores are means over seeds: what the seed does to a rank is not in the interval. Ranks of a resample lie nearer
    to the middle than those of the data, so an interval is widened to hold its estimate.

    Args:
        rows: for each method the scores on every task, in one order of tasks; a score a seed. All methods have the
            same test trainings on a task.

    Returns:
        A rank for each method; none of one method alone, which nothing is compared with.
    """
    if len(rows) < 2:
        return {}
    trainings = sorted({training for scores in next(iter(rows.values())) for training in scores[0].trainings})
    n = len(trainings)
    drawn = np.stack([np.bincount(sample, minlength=n) for sample in resampled_trainings(n)])
    weights = np.concatenate([np.ones((1, n)), drawn])  # the first sample is the data
    means = np.mean([_ranks(task, trainings, weights) for task in zip(*rows.values(), strict=True)], axis=0)
    found, estimates = {}, np.round(means[0], _DECIMALS)
    for method, mean, estimate in zip(rows, means.T, estimates, strict=True):
        interval = _interval(mean)
        win_rate = Interval(*((len(rows) - interval[i]) / (len(rows) - 1) for i in (0, 2, 1)))
        found[method] = Rank(1 + int(np.sum(estimates < estimate)), interval, win_rate)
    return found


def _ranks(task: Sequence[Sequence[Score]], trainings: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """Return the ranks of methods on a task in each sample, float64 ``(samples, methods)``.

    ``weights`` ``(samples, trainings)`` says how often each training was drawn; a sample without any of the task's ties all.
    """
    own = weights[:, np.searchsorted(trainings, task[0][0].trainings)]
    with np.errstate(invalid="ignore"):
        values = np.stack([np.nan_to_num(_weighted(scores, own)) for scores in task], axis=1).round(_DECIMALS)
    one, other = values[:, :, None], values[:, None, :]
    return 0.5 + np.sum((other > one) + 0.5 * (other == one), axis=-1)  # a method equals itself


def _weighted(scores: Sequence[Score], weights: np.ndarray) -> np.ndarray:
    """Return the accuracy or R² of each sample of trainings, float64 ``(samples,)``; NaN or 0 of none."""
    if isinstance(scores[0], ClassificationScore):
        return np.asarray((weights @ mean_right(scores)) / (weights @ np.asarray(scores[0].n_items)))
    return r2_of(Sums(*((weights @ values)[:, None] for values in mean_sums(scores))))


def _interval(samples: np.ndarray) -> Interval:
    low, high = np.percentile(samples[1:], [2.5, 97.5])
    return Interval(float(samples[0]), min(float(samples[0]), float(low)), max(float(samples[0]), float(high)))
