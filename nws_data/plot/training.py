"""One training with all its snapshots, and the numbers that its pictures show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nws_data.errors import SelectionError
from nws_data.read.dataset import open as open_dataset
from nws_data.space.architecture import Architecture, Layer
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.identity import parse_id
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text

if TYPE_CHECKING:
    import pandas as pd

PERCENTILES = (1, 25, 50, 75, 99)


@dataclass(frozen=True)
class StoredTraining:
    """A training as a dataset holds it."""

    training: str  # its id
    hyperparameters: HyperParameters
    snapshots: np.ndarray  # numbers of those that the dataset holds, (n,), mostly 0 to 19
    epochs: np.ndarray  # of each snapshot, (n,); 0 is the initialisation
    vectors: np.ndarray  # the weights of each snapshot, float32 (n, n_weights)
    row: pd.Series  # of the table of trainings, with the learning curves

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, input side first."""
        return Architecture.of(self.hyperparameters).layers

    def name(self, i: int) -> str:
        """Return what the snapshot at a position is: ``initialisation``, ``converged`` or ``epoch 7``."""
        names = {SNAPSHOTS[0]: "initialisation", SNAPSHOTS[-1]: "converged"}
        return names.get(int(self.snapshots[i]), f"epoch {self.epochs[i]:g}")

    def kernels(self, layer: Layer) -> np.ndarray:
        """Return a layer's kernel of each snapshot, float32 ``(n, values)``."""
        return self.vectors[:, layer["kernel"].slice]


def load_training(root: str | Path, training: str) -> StoredTraining:
    """Read a training, by its id such as ``fixed-000003``, with its weights.

    Raises ``SelectionError`` for no id, or one that the dataset does not hold, and what :func:`nws_data.open` raises.
    """
    population, _ = parse_id(training)
    data = open_dataset(root, population)
    rows = np.flatnonzero(data["training"] == training)
    if not len(rows):
        known = np.unique(data["training"])
        raise SelectionError(
            f"{data.root} holds no weights of {training}, but of {len(known):,} trainings from {known[0]} to {known[-1]}"
        )
    own = data.take(rows)
    vectors = own.store.gather(own.shard_index, own.value_offset, int(own["n_weights"][0])).numpy()
    return StoredTraining(training, own.hyperparameters(0), own["snapshot"], own["epoch"], vectors, own.trainings().iloc[0])


def distances(kernels: np.ndarray) -> np.ndarray:
    """Return how far a kernel ``(n, values)`` is from its first snapshot, in units of the latter's norm: float64 ``(n,)``.

    NaN where a snapshot holds values that are not finite, or the first one is 0.
    """
    values = kernels.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = np.linalg.norm(values - values[0], axis=1) / np.linalg.norm(values[0])
    return np.where(np.isfinite(found), found, np.nan)


def percentiles(kernels: np.ndarray) -> np.ndarray:
    """Return :data:`PERCENTILES` of the finite values of each snapshot: float64 ``(n, 5)``, NaN where there are none."""
    found = np.full((len(kernels), len(PERCENTILES)), np.nan)
    for line, values in zip(found, kernels, strict=True):
        finite = values[np.isfinite(values)]
        if len(finite):
            line[:] = np.percentile(finite.astype(np.float64), PERCENTILES)
    return found


def caption(training: StoredTraining) -> str:
    """Return a training's hyper-parameters and result in two lines."""
    h = training.hyperparameters
    norm = "" if h.batch_norm else ", no batch norm"
    bad = np.flatnonzero(~np.isfinite(training.vectors).all(axis=1))
    infinite = f"; values that are not finite from snapshot {training.snapshots[bad[0]]} on" if len(bad) else ""
    held = tuple(training.snapshots.tolist())
    part = "" if held == SNAPSHOTS else f"; {snapshots_text(held)} of {len(SNAPSHOTS)}"
    return (
        f"{training.training}: {h.dataset}, {h.initialization}, {h.activation}, {h.optimizer} at {h.learning_rate:.2g}, "
        f"batches of {h.batch_size}, augmentation {'on' if h.augmentation else 'off'}{norm}\n"
        f"{training.vectors.shape[1]:,} weights, filters {h.filter_size}x{h.filter_size}; final test accuracy "
        f"{training.row['final_test_accuracy']:.1%} after {training.row['n_epochs']} epochs{infinite}{part}"
    )
