"""One finished training as builders hand it to the writer: a staging file that is complete or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, NWSError, check_one_of
from nws_data.format.shards import MAX_PLAN_INDEX
from nws_data.format.untrusted import parse_json
from nws_data.hashing import sha256_of
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters
from nws_data.space.identity import parse_id, split_of
from nws_data.space.trajectory import CURVES, N_SNAPSHOTS, STOP_REASONS

PROVENANCE = ("wall_s", "finished_at", "host", "nws_version", "python_version")
"""Fields that may differ between two builds of the same training."""

RECORD_VERSION = 1
_METADATA_KEY = "nws_record"
_TENSOR = "weights"
_TUPLES = ("snapshot_epochs", *CURVES)


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Everything known of a finished training but its weights. Raises ``FormatError`` when inconsistent."""

    training: str  # id, such as "fixed-000017"
    seed: int
    hyperparameters: HyperParameters
    snapshot_epochs: tuple[int, ...]  # 20, ascending from 0 to the last epoch
    snapshot_stride: int  # spacing in epochs of the evaluations kept for choosing snapshots
    train_accuracy: tuple[float, ...]  # one per evaluation, the first before any training; in [0, 1]
    validation_accuracy: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    stop_reason: str
    generator: str  # name and version of the random numbers
    compute_path: str
    precision: str
    device: str
    torch_version: str
    wall_s: float
    finished_at: str  # ISO 8601, UTC
    host: str
    nws_version: str
    python_version: str

    def __post_init__(self) -> None:
        if self.plan_index > MAX_PLAN_INDEX:
            raise FormatError(f"{self.training}: plan index must be at most {MAX_PLAN_INDEX}")
        check_one_of(f"{self.training}: stop_reason", self.stop_reason, STOP_REASONS, FormatError)
        if self.snapshot_stride < 1:
            raise FormatError(f"{self.training}: snapshot_stride must be at least 1, got {self.snapshot_stride}")
        for name in CURVES:
            curve = getattr(self, name)
            if len(curve) != len(self.test_accuracy):
                raise FormatError(f"{self.training}: {name} has {len(curve)} values, test_accuracy {self.n_epochs + 1}")
            if not all(0 <= value <= 1 for value in curve):
                raise FormatError(f"{self.training}: {name} must be in [0, 1], got {min(curve)} to {max(curve)}")
        epochs = self.snapshot_epochs
        ascending = all(a < b for a, b in pairwise(epochs))
        if len(epochs) != N_SNAPSHOTS or not ascending or epochs[0] != 0 or epochs[-1] != self.n_epochs:
            wanted = f"{N_SNAPSHOTS} ascending epochs from 0 to {self.n_epochs}"
            raise FormatError(f"{self.training}: snapshot_epochs must be {wanted}, got {epochs}")

    @property
    def population(self) -> str:
        """``fixed`` or ``random``, from the id."""
        return parse_id(self.training)[0]

    @property
    def plan_index(self) -> int:
        """Place in the population's plan, from the id."""
        return parse_id(self.training)[1]

    @property
    def split(self) -> str:
        """The split, a property of the id."""
        return split_of(self.training)

    @property
    def architecture(self) -> Architecture:
        """What the hyper-parameters describe."""
        return Architecture.of(self.hyperparameters)

    @property
    def n_epochs(self) -> int:
        """Epochs trained: evaluations less the one of the initialisation."""
        return len(self.test_accuracy) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRecord(TrainingFacts):
    """One finished training: facts and weights, float32 ``(20, n_weights)`` in time order."""

    weights: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (N_SNAPSHOTS, self.architecture.n_weights)
        if self.weights.shape != shape or self.weights.dtype != np.float32:
            raise FormatError(
                f"{self.training}: weights must be float32 {shape}, got {self.weights.dtype} {self.weights.shape}"
            )

    def save(self, path: Path) -> None:
        """Write the staging file atomically (safetensors: one tensor, one JSON string); raises ``BuildError``."""
        from safetensors.numpy import save

        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(TrainingFacts)}
        weights = np.ascontiguousarray(self.weights)
        values |= {"hyperparameters": asdict(self.hyperparameters), "record_version": RECORD_VERSION}
        values["weights_sha256"] = sha256_of(weights.data)
        write_bytes(path, save({_TENSOR: weights}, {_METADATA_KEY: json.dumps(values, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a staging file; raises ``FormatError`` when truncated, foreign or inconsistent."""
        with _opened(path) as (values, sha256, file):
            weights = file.get_tensor(_TENSOR)
            if sha256_of(weights.data) != sha256:
                raise FormatError("the weights are damaged (SHA-256)")
            return cls(**values, weights=weights)


def load_facts(path: Path) -> TrainingFacts:
    """Read a staging file without its weights; raises ``FormatError`` as :meth:`TrainingRecord.load`."""
    with _opened(path) as (values, _, file):
        facts, shape = TrainingFacts(**values), file.get_slice(_TENSOR).get_shape()
        if shape != [N_SNAPSHOTS, facts.architecture.n_weights]:
            raise FormatError(f"weights {shape}, its architecture has {facts.architecture.n_weights} values a snapshot")
        return facts


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Open a staging file: its facts, SHA-256 of its weights, and the file; says of errors of the block where they are."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise FormatError("no such file")
        with safe_open(path, framework="numpy") as file:
            values = parse_json(file.metadata()[_METADATA_KEY])
            for name in ("plan", "finite"):  # of older builders
                values.pop(name, None)
            sha256, version = values.pop("weights_sha256"), values.pop("record_version")
            if version != RECORD_VERSION or file.get_slice(_TENSOR).get_dtype() != "F32":
                raise FormatError(f"record version {version!r}, this nws_data reads {RECORD_VERSION}")
            values |= {name: tuple(values[name]) for name in _TUPLES}
            yield values | {"hyperparameters": HyperParameters.from_dict(values["hyperparameters"])}, sha256, file
    except (SafetensorError, OSError, NWSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise FormatError(f"{path}: not a staged training of NWS: {error}; remove it and train again") from error
