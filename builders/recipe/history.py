"""What a training leaves behind while it runs: learning curves, early stopping and snapshots, on whatever device it runs.

Source: Eilertsen et al. 2020, Supplement A.2.
"""

from __future__ import annotations

import platform
import socket
import time
from datetime import UTC, datetime

import numpy as np
import torch

from builders.plan.trainings import PlannedTraining
from builders.recipe.snapshots import SnapshotBuffer
from builders.recipe.stopping import EarlyStopping
from nws_data import __version__
from nws_data.format.records import TrainingRecord
from nws_data.randomness import GENERATOR
from nws_data.space.trajectory import CURVES


class History:
    """Evaluations of one training so far, and its record in the end."""

    def __init__(self, planned: PlannedTraining, epoch_cap: int) -> None:
        self.planned = planned
        self.stop_reason: str | None = None
        self.snapshots = SnapshotBuffer()
        self._stopping = EarlyStopping(epoch_cap)
        self._curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self._started_s = time.perf_counter()

    def add(self, accuracies: dict[str, float], weights: np.ndarray) -> None:
        """Take the next evaluation, accuracies by the names of ``CURVES`` and weights float32 ``(n_weights,)``, which are
        copied, and decide whether to stop (``stop_reason``)."""
        for name, values in self._curves.items():
            values.append(accuracies[name])
        self.snapshots.add(weights)
        self.stop_reason = self._stopping.update(accuracies["validation_accuracy"])

    def record(self, precision: str, compute_path: str, device: str) -> TrainingRecord:
        """Return the finished training for the writer."""
        epochs, weights = self.snapshots.result()
        return TrainingRecord(
            training=self.planned.id,
            seed=self.planned.seed,
            hyperparameters=self.planned.hyperparameters,
            snapshot_epochs=tuple(epochs),
            snapshot_stride=self.snapshots.stride,
            stop_reason=str(self.stop_reason),
            generator=GENERATOR,
            compute_path=compute_path,
            precision=precision,
            device=device,
            torch_version=torch.__version__,
            wall_s=time.perf_counter() - self._started_s,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname().encode(errors="replace").decode(),
            nws_version=__version__,
            python_version=platform.python_version(),
            weights=weights,
            **{name: tuple(values) for name, values in self._curves.items()},
        )
