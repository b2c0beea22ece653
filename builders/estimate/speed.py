"""A model of a worker's speed: seconds for an image of a training and of an evaluation, from what each costs by shape.

Time is linear in what a step does: a constant, augmentation, operations, values that convolutions put out (memory traffic),
activations, the weights' update and calls of the framework. The shares of these were measured on one machine; a
calibration of twenty seconds is too short to find them all anew, so it moves the measured coefficients as far as its
samples demand and no farther (ridge regression towards them). ``python -m benchmarks.speed.plan`` measures them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builders.plan.cost import conv_values, forward_flop
from builders.plan.trainings import PlannedTraining
from nws_data.space.architecture import IMAGE_SHAPE, Architecture

STEP_TERMS = ("image", "augmentation", "MFLOP", "conv values", "ELU values", "sigmoid or tanh values", "weights", "layers")
SCORE_TERMS = ("image", "MFLOP", "conv values", "ELU values", "sigmoid or tanh values")

REFERENCE: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "float32": ((33.0, 57.0, 15.8, 1.4, 5.3, 7.0, 22.0, 260.0), (40.0, 6.1, 0.3, 1.0, 1.8)),
    "bfloat16": ((24.0, 51.0, 10.8, 0.4, 3.4, 4.9, 2.1, 2070.0), (40.0, 5.5, 0.3, 2.2, 2.8)),
}
"""Coefficients by precision: microseconds for each unit of ``STEP_TERMS`` and ``SCORE_TERMS`` (thousands of values and of
weights), on a core of an AMD EPYC 9005 with torch 2.15 and the native backend, 30 shapes."""

_TRUST = 1.0  # weight of the reference against one sample


@dataclass(frozen=True)
class Sample:
    """A measured shape: seconds of processor time for an image x model."""

    planned: PlannedTraining
    step_s: float
    score_s: float
    busy: float  # wall time for each second of processor time: above 1 where other programs took the core


@dataclass(frozen=True)
class Speed:
    """Seconds of one worker, and how far to trust them."""

    step: tuple[float, ...]  # seconds for each unit of STEP_TERMS
    score: tuple[float, ...]
    n_samples: int
    scatter: float  # standard deviation of measured over fitted times, of one shape
    busy: float  # median of the samples'
    start_s: float  # until a worker is ready

    def seconds(self, planned: PlannedTraining, train_images: float, scored_images: float) -> float:
        """Return the processor time of a training."""
        step, score = _step_terms(planned), _score_terms(planned)
        return float(train_images * (step @ np.asarray(self.step)) + scored_images * (score @ np.asarray(self.score)))

    @property
    def error(self) -> float:
        """Relative standard error of the time of many trainings: the scatter averages out, five percent do not."""
        return float(np.hypot(0.05, self.scatter / max(1, self.n_samples) ** 0.5))


def reference_speed(precision: str) -> Speed:
    """Return the speed of the machine that the coefficients come from."""
    step, score = REFERENCE[precision]
    return Speed(tuple(1e-6 * c for c in step), tuple(1e-6 * c for c in score), 0, 0.0, 1.0, 0.0)


def fit_speed(samples: Sequence[Sample], precision: str, start_s: float) -> Speed:
    """Fit the model to samples of the trainings that it is for, drawn in proportion to their cost."""
    reference = reference_speed(precision)
    step, step_ratio = _fit([_step_terms(s.planned) for s in samples], [s.step_s for s in samples], reference.step)
    score, _ = _fit([_score_terms(s.planned) for s in samples], [s.score_s for s in samples], reference.score)
    busy = float(np.median([s.busy for s in samples]))
    return Speed(step, score, len(samples), float(np.std(step_ratio)), max(1.0, busy), start_s)


def coefficients(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients, in seconds, that fit many samples best by themselves: no reference, none negative."""
    step = _nonnegative([_step_terms(s.planned) for s in samples], [s.step_s for s in samples])
    return step, _nonnegative([_score_terms(s.planned) for s in samples], [s.score_s for s in samples])


def _nonnegative(rows: Sequence[np.ndarray], seconds: Sequence[float]) -> np.ndarray:
    """Return nonnegative least squares of relative residuals."""
    from scipy.optimize import nnls

    terms, y = np.asarray(rows), np.asarray(seconds)
    scale = np.maximum(terms.max(axis=0), 1e-12)
    return np.asarray(nnls(terms / scale / y[:, None], np.ones(len(y)))[0] / scale)


def _fit(
    rows: Sequence[np.ndarray], seconds: Sequence[float], reference: tuple[float, ...]
) -> tuple[tuple[float, ...], np.ndarray]:
    """Return coefficients, and measured over fitted time of every sample."""
    terms, y = np.asarray(rows), np.asarray(seconds)
    prior = np.asarray(reference)
    prior = prior * np.median(y / (terms @ prior))
    # Unknown is each coefficient as a multiple of the prior; residuals are relative, so that small shapes count as well.
    weights = np.vstack([terms * prior / y[:, None], np.eye(len(prior)) * _TRUST**0.5])
    target = np.concatenate([np.ones(len(y)), np.full(len(prior), _TRUST**0.5)])
    multiples = np.linalg.lstsq(weights, target, rcond=None)[0].clip(0.05)
    fitted = terms @ (prior * multiples)
    level = float(np.mean(y / fitted))  # samples are drawn in proportion to cost: this makes the sum unbiased
    return tuple((prior * multiples * level).tolist()), y / (fitted * level)


def _step_terms(planned: PlannedTraining) -> np.ndarray:
    hp = planned.hyperparameters
    architecture = Architecture.of(hp)
    per_batch = 1 / hp.batch_size
    return np.array(
        [
            1.0,
            float(hp.augmentation),
            forward_flop(architecture) / 1e6,
            conv_values(architecture) / 1e3,
            *_activation_terms(architecture, hp.activation),
            architecture.n_weights * per_batch / 1e3,
            len(architecture.layers) * per_batch / 4,
        ]
    )


def _score_terms(planned: PlannedTraining) -> np.ndarray:
    architecture = Architecture.of(planned.hyperparameters)
    activation = _activation_terms(architecture, planned.hyperparameters.activation)
    return np.array([1.0, forward_flop(architecture) / 1e6, conv_values(architecture) / 1e3, *activation])


def _activation_terms(architecture: Architecture, activation: str) -> tuple[float, float]:
    """Return thousands of values that an ELU takes, and that a sigmoid or tanh takes: after the pool, where there is one."""
    area, values = IMAGE_SHAPE[1] * IMAGE_SHAPE[2], 0
    for layer in architecture.layers:
        if layer.is_conv:
            area //= 4 if layer.pool_after else 1
            values += layer.n_out * area
    return (values / 1e3 * (activation == "elu"), values / 1e3 * (activation in ("sigmoid", "tanh")))
