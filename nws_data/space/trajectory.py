"""What a training leaves behind: how many snapshots, which learning curves, why it stopped.

Source: Eilertsen et al. 2020, Supplement A.2.
"""

from __future__ import annotations

N_SNAPSHOTS = 20
"""Snapshots of each training: number 0 is the initialisation, 19 the converged model."""

CURVES = ("train_accuracy", "validation_accuracy", "test_accuracy")
"""Learning curves, one value in [0, 1] an evaluation, the first before any training."""

STOP_REASONS = ("falling", "below_average", "stationary", "cap")
"""Why a training ended: one of the three criteria of early stopping, or the cap on epochs."""
