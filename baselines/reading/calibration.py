"""What a classifier of windows may say about a whole network: calibrated probabilities, and how far a network lies.

Windows of one network depend on each other, so all is done at the level of the network. Its score is the mean over its
windows: of the logarithm of the probabilities, or of the distances of a support vector machine. A softmax of that score
divided by a temperature gives the probabilities; the temperature is the one of least log loss on networks that were out of
fold. Source: Guo et al. 2017, On calibration of modern neural networks, Section 4.2.

Far is a network whose mean squared Mahalanobis distance, over windows, is larger than that of 99 % of the training networks,
each measured out of fold. Features have heavy tails (a diverged network has variances of thousands), so they are taken as
asinh of (x - median) / interquartile range.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from baselines.tabular import TabularMethod
    from nws_data.tasks.task import Task

N_FOLDS = 5
QUANTILE = 0.99
_LEAST = 1e-6
"""Smallest probability of a window: a class that no training item had would else forbid itself for good."""
_RIDGE = 1e-3
"""Added to the covariance of the features: some are almost equal."""
_TEMPERATURES = (-5.0, 7.0)
"""Range of the logarithm of the temperature."""


@dataclass(frozen=True)
class Distance:
    """Mahalanobis distance of features; ``median``, ``spread``, ``mean`` float64 ``(f,)``, ``precision`` ``(f, f)``."""

    median: np.ndarray
    spread: np.ndarray
    mean: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> Self:
        """Return the distance from the rows ``(n, f)``."""
        low, median, high = np.percentile(table, (25, 50, 75), axis=0)
        spread = np.where(high > low, high - low, 1.0)
        bent = np.arcsinh((table - median) / spread)
        covariance = np.atleast_2d(np.cov(bent, rowvar=False)) + _RIDGE * np.eye(table.shape[1])
        return cls(median, spread, bent.mean(axis=0), np.linalg.inv(covariance))

    def __call__(self, table: np.ndarray) -> np.ndarray:
        """Return the squared distance of rows ``(n, f)`` over the number of features: 1 on average in training."""
        centred = np.arcsinh((table - self.median) / self.spread) - self.mean
        return np.asarray(((centred @ self.precision) * centred).sum(axis=1) / table.shape[1])


@dataclass(frozen=True)
class Calibration:
    """Of one classifier; made by :func:`calibrate`."""

    temperature: float
    log_loss: float  # of the networks out of fold, in nats
    n_networks: int
    limit: float  # of the distance: beyond it a network is far
    distance: Distance

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return float64 ``(classes,)`` of a network's windows' scores ``(windows, classes)``, see :func:`window_scores`."""
        from scipy.special import softmax

        return np.asarray(softmax(scores.mean(axis=0) / self.temperature))


def window_scores(method: TabularMethod, table: np.ndarray) -> np.ndarray:
    """Return float64 ``(n, classes)``: logarithms of probabilities where the method gives these, else its distances."""
    scores = method.predict_table(table)
    return np.log(np.maximum(scores, _LEAST)) if method.gives_probabilities else scores


def calibrate(method: TabularMethod, task: Task) -> Calibration:
    """Fit temperature and distance in five folds over the training trainings; the method itself stays as it is.

    Args:
        method: fitted on the task.
        task: a classification with :data:`N_FOLDS` training trainings of each class at least; of their items, windows or
            whole vectors, those of the last snapshot count.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    view, table, kept = method.training_items(task)
    labels, rows = view.labels.numpy(), view.rows
    trainings, snapshots = view.data["training"][rows], view.data["snapshot"][rows]
    scores, distances = np.empty((len(labels), task.n_classes)), np.empty(len(labels))
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    for train, held in folds.split(table, labels, trainings):
        part, fitted_on = copy.copy(method), np.intersect1d(train, kept)
        part.fit_table(table[fitted_on], labels[fitted_on])
        scores[held] = window_scores(part, table[held])
        distances[held] = Distance.of(table[train])(table[held])
    last = snapshots == snapshots.max()
    _, first, of = np.unique(trainings[last], return_index=True, return_inverse=True)
    counts = np.bincount(of)
    means = np.stack([np.bincount(of, column[last]) / counts for column in scores.T], axis=1)
    truth = labels[last][first]
    temperature, loss = best_temperature(means, truth)
    limit = float(np.quantile(np.bincount(of, distances[last]) / counts, QUANTILE))
    return Calibration(temperature, loss, len(truth), limit, Distance.of(table))


def best_temperature(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the temperature of least log loss of networks' scores ``(n, classes)`` with labels ``(n,)``, and that loss."""
    from scipy.optimize import minimize_scalar
    from scipy.special import softmax

    def loss(logarithm: float) -> float:
        chosen = softmax(scores / np.exp(logarithm), axis=1)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, 1e-300)).mean())

    found: Any = minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded")
    return float(np.exp(found.x)), float(found.fun)
