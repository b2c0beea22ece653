"""Metrics as functions of arrays, with 95 % intervals that respect that items of one training belong together.

Windows and snapshots of one training are not independent, so every interval treats trainings as the sampling units
(clusters).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from nws_data.randomness import Purpose, words

Z_95 = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""

N_RESAMPLES = 1000
"""Bootstrap samples behind an interval of a regression metric."""


_EQUAL = 1e-12
"""Share of the sum of squared targets below which their spread is rounding."""


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Sums(NamedTuple):
    """What regression metrics need of each training: float64 ``(trainings,)`` each, but ``n`` int64."""

    n: np.ndarray  # items
    target: np.ndarray  # sum of targets
    target2: np.ndarray  # of their squares
    error2: np.ndarray  # of squared errors
    absolute: np.ndarray  # of absolute errors


def clustered_accuracy(n_items: np.ndarray, n_right: np.ndarray) -> Interval:
    """Return the share of right items with its Wilson interval at the effective sample size.

    The effective sample size is that of independent items with the variance found between trainings; where all or
    none are right it is the number of trainings. The interval so stays inside [0, 1] and has a width there too.

    Args:
        n_items: ``(trainings,)``, items of each, at least 1.
        n_right: ``(trainings,)``, how many of them are right; may be means over seeds.
    """
    n, total = np.asarray(n_items, np.float64), float(np.sum(n_items))
    accuracy = float(np.sum(n_right)) / total
    spread = accuracy * (1 - accuracy)
    variance = _clustered_variance(n, np.asarray(n_right, np.float64), accuracy)
    effective = min(spread / variance, total) if variance > 0 and spread > 0 else float(len(n))
    effective = max(effective, 1.0)
    middle = (accuracy + Z_95**2 / (2 * effective)) / (1 + Z_95**2 / effective)
    half = Z_95 / (1 + Z_95**2 / effective) * math.sqrt(spread / effective + Z_95**2 / (4 * effective**2))
    return Interval(accuracy, max(0.0, min(accuracy, middle - half)), min(1.0, max(accuracy, middle + half)))


def paired_difference(n_items: np.ndarray, right_a: np.ndarray, right_b: np.ndarray) -> Interval:
    """Return the accuracy of A less that of B on the same items, with the normal interval clustered by training.

    Arguments as in :func:`clustered_accuracy`, of both; ``right_b = chance * n_items`` compares with guessing.
    """
    n = np.asarray(n_items, np.float64)
    gain = np.asarray(right_a, np.float64) - np.asarray(right_b, np.float64)
    difference = float(gain.sum() / n.sum())
    half = Z_95 * math.sqrt(_clustered_variance(n, gain, difference))
    return Interval(difference, difference - half, difference + half)


def _clustered_variance(n: np.ndarray, values: np.ndarray, ratio: float) -> float:
    """Return the variance of ``sum(values) / sum(n)`` over samples of trainings (ratio estimator, linearised)."""
    clusters = len(n)
    return float(clusters / (clusters - 1) * np.sum((values - ratio * n) ** 2) / np.sum(n) ** 2) if clusters > 1 else 0.0


def r2_of(sums: Sums) -> np.ndarray:
    """Return R² from sums, over the last axis; 0 where all targets are equal."""
    n, target = sums.n.sum(-1), sums.target.sum(-1)
    squares = sums.target2.sum(-1)
    total = squares - target**2 / n
    differ = total > _EQUAL * squares  # rounding leaves a rest where all are equal
    return np.where(differ, 1 - sums.error2.sum(-1) / np.where(differ, total, 1.0), 0.0)


def mae_of(sums: Sums) -> np.ndarray:
    """Return the mean absolute error from sums, over the last axis."""
    return sums.absolute.sum(-1) / sums.n.sum(-1)


def clustered_regression(sums: Sums) -> tuple[Interval, Interval]:
    """Return R² and the mean absolute error with percentile intervals of a bootstrap over trainings.

    The resamples are a function of the number of trainings alone, so the same predictions always give the same interval.
    """
    drawn = resampled_trainings(len(sums.n))
    resampled = Sums(*(values[drawn] for values in sums))
    found = []
    for metric in (r2_of, mae_of):
        low, high = np.percentile(metric(resampled), [2.5, 97.5])
        estimate = float(metric(sums))
        found.append(Interval(estimate, min(estimate, float(low)), max(estimate, float(high))))
    return found[0], found[1]


def resampled_trainings(n: int) -> np.ndarray:
    """Return which of ``n`` trainings each bootstrap sample draws, int64 ``(N_RESAMPLES, n)``: a function of ``n`` alone."""
    numbers = torch.arange(N_RESAMPLES)
    drawn = words(torch.zeros_like(numbers), Purpose.BOOTSTRAP, numbers, n)
    return drawn.mul_(n).bitwise_right_shift_(32).numpy()


def kendall_tau(a: np.ndarray, b: np.ndarray) -> float:
    """Return Kendall's tau-b of two arrays of finite numbers ``(n,)``, in [-1, 1]; 0 where one of them is constant."""
    from scipy.stats import kendalltau  # half a second to import

    tau = float(kendalltau(a, b).statistic) if len(a) > 1 else math.nan
    return 0.0 if math.isnan(tau) else tau
