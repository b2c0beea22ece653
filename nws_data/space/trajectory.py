"""What a training leaves behind: how many snapshots, which learning curves, why it stopped.

Source: Eilertsen et al. 2020, Supplement A.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

N_SNAPSHOTS = 20
"""Snapshots of each training: number 0 is the initialisation, 19 the converged model."""

SNAPSHOTS = tuple(range(N_SNAPSHOTS))
"""The numbers of all snapshots. A dataset may hold some of them alone: ``snapshots`` of its manifest."""

CURVES = ("train_accuracy", "validation_accuracy", "test_accuracy")
"""Learning curves, one value in [0, 1] an evaluation, the first before any training."""

STOP_REASONS = ("falling", "below_average", "stationary", "cap")
"""Why a training ended: one of the three criteria of early stopping, or the cap on epochs."""


def check_snapshots(numbers: Any) -> tuple[int, ...]:
    """Return the numbers of the snapshots that a file says it holds; raises ``ValueError`` for what cannot be."""
    numbers = tuple(numbers)
    known = all(type(number) is int and number in SNAPSHOTS for number in numbers)
    if not numbers or not known or any(a >= b for a, b in pairwise(numbers)):
        raise ValueError(f"snapshots must ascend within 0 to {SNAPSHOTS[-1]}, got {numbers!r:.100}")
    return numbers


def snapshots_text(numbers: Sequence[int]) -> str:
    """Return ``all 20 snapshots``, ``snapshot 19`` or ``snapshots 0, 10, 19``."""
    if tuple(numbers) == SNAPSHOTS:
        return f"all {N_SNAPSHOTS} snapshots"
    return f"snapshot{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
