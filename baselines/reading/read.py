"""Reads a network's hyper-parameters off its weights by kept classifiers, which may also say that they cannot tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.reading.calibration import window_scores
from baselines.reading.checkpoint import Checkpoint
from baselines.reading.saved import Classifier
from nws_data.errors import NWSError
from nws_data.features.statistics import statistics
from nws_data.read.windows import N_OFFICIAL, official_starts, start_range

CONFIDENCE = 0.7
"""An answer has at least this calibrated probability, unless another is asked for."""

AGREEMENT = 0.5
"""More than this share of the windows must be for the answer."""


@dataclass(frozen=True)
class Reading:
    """What is said about one hyper-parameter of one network."""

    target: str
    probabilities: dict[str, float]  # by class, calibrated; empty where no window fits
    answer: str | None  # None: cannot tell
    why: str  # why not; empty where there is an answer
    agreement: float | None  # share of windows whose own best class is the network's
    distance: float | None  # from the training networks, over the limit: above 1 is far
    classifier: str  # task and method


def usable(classifiers: Iterable[Classifier]) -> list[Classifier]:
    """Return the calibrated classifiers of windows, for each hyper-parameter the one of least log loss; in its order.

    Raises ``NWSError`` where there is none.
    """
    able = [one for one in classifiers if one.calibration and one.spec.length and one.method.features == "vector"]
    if not able:
        raise NWSError("no calibrated classifier of windows among them; keep some of local/*, such as boosting-16")
    by_loss = sorted(able, key=lambda one: one.calibration.log_loss if one.calibration else np.inf, reverse=True)
    return list(({one.spec.target: one for one in able} | {one.spec.target: one for one in by_loss}).values())


def read_network(checkpoint: Checkpoint, classifiers: Sequence[Classifier], confidence: float = CONFIDENCE) -> list[Reading]:
    """Return a reading for the hyper-parameter of each classifier of :func:`usable`.

    An answer has at least the probability ``confidence``; raises ``NWSError`` where that is not in [0, 1].
    """
    if not 0 <= confidence <= 1:
        raise NWSError(f"confidence must be in [0, 1], got {confidence}")
    return [_read(checkpoint, classifier, confidence) for classifier in classifiers]


def window_table(checkpoint: Checkpoint, classifier: Classifier) -> np.ndarray | None:
    """Return the features ``(10, 16)`` of the windows that the classifier was calibrated on; None where none fits."""
    length, part, n = classifier.method.length, classifier.spec.family.part, len(checkpoint.vector)
    if part is None or length is None or n < length:
        return None
    first, last = start_range(part, length, np.array([n]), np.array([checkpoint.n_conv]))
    starts = official_starts(first, last, N_OFFICIAL)
    return statistics(np.stack([checkpoint.vector[start : start + length] for start in starts]))


def _read(checkpoint: Checkpoint, one: Classifier, confidence: float) -> Reading:
    target, name, calibration = one.spec.target, f"{one.spec.name}, {one.name}", one.calibration
    table = window_table(checkpoint, one)
    if table is None or calibration is None:
        why = f"the network has {len(checkpoint.vector):,} values, a window {one.method.length:,}"
        return Reading(target, {}, None, why, None, None, name)
    scores = window_scores(one.method, table)
    found = calibration.probabilities(scores)
    best = int(found.argmax())
    agreement = float((scores.argmax(axis=1) == best).mean())
    distance = float(calibration.distance(table).mean() / calibration.limit)
    why = ""
    if not distance <= 1:
        why = f"far from the training networks: {distance:.3g} of the limit"
    elif found[best] < confidence:
        why = f"the most likely has {found[best]:.0%}, below {confidence:.0%}"
    elif agreement <= AGREEMENT:
        why = f"windows disagree: only {agreement:.0%} are for {one.classes[best]}"
    answer = None if why else str(one.classes[best])
    shares = {str(value): float(share) for value, share in zip(one.classes, found, strict=True)}
    return Reading(target, shares, answer, why, agreement, distance, name)
