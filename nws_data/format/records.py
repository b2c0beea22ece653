"""One finished training as builders hand it to the writer: a staging file that is complete or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, NWSError, one_of
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
_REMOVE = "remove it and train again"
_TUPLES = ("snapshot_epochs", *CURVES)
_CHECKED = ("finite", "weights_sha256")  # of which a record is made without


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
        if self.stop_reason not in STOP_REASONS:
            raise FormatError(f"{self.training}: stop_reason: {one_of(self.stop_reason, STOP_REASONS)}")
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


@dataclass(frozen=True, kw_only=True)
class TrainingHeader(TrainingFacts):
    """A staged training without its weights."""

    finite: bool  # every value of every snapshot is finite


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

    @cached_property
    def finite(self) -> bool:
        """Whether every value of every snapshot is finite."""
        return bool(np.isfinite(self.weights).all())

    def save(self, path: Path) -> None:
        """Write the staging file atomically (safetensors: one tensor, one JSON string); raises ``BuildError``."""
        from safetensors.numpy import save

        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(TrainingFacts)}
        values |= {"hyperparameters": asdict(self.hyperparameters), "finite": self.finite, "record_version": RECORD_VERSION}
        weights = np.ascontiguousarray(self.weights)
        values["weights_sha256"] = sha256_of(weights.data)
        write_bytes(path, save({_TENSOR: weights}, {_METADATA_KEY: json.dumps(values, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a staging file; raises ``FormatError`` when truncated, foreign or inconsistent."""
        values, weights = _read(path, with_weights=True)
        values.pop("finite")
        if sha256_of(weights.data) != values.pop("weights_sha256"):
            raise FormatError(f"{path}: the weights are damaged (SHA-256); {_REMOVE}")
        return _construct(cls, {**values, "weights": weights}, path)


_Facts = TypeVar("_Facts", bound=TrainingFacts)


def load_header(path: Path) -> TrainingHeader:
    """Read a staging file's facts without its weights; raises ``FormatError`` as :meth:`TrainingRecord.load`."""
    values, weights = _read(path, with_weights=False)
    values.pop("weights_sha256")
    staged = _construct(TrainingHeader, values, path)
    expected = [N_SNAPSHOTS, staged.architecture.n_weights]
    if weights != expected:
        raise FormatError(f"{path}: weights are {weights}, expected {expected}; {_REMOVE}")
    return staged


def _read(path: Path, with_weights: bool) -> tuple[dict[str, Any], Any]:
    """Return the facts of a staging file, ``finite`` and ``weights_sha256`` included, and its weights or their shape."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise FormatError("no such file")
        with safe_open(path, framework="numpy") as file:
            values = parse_json(file.metadata()[_METADATA_KEY])
            weights = file.get_slice(_TENSOR)
            values.pop("plan", None)  # of an older builder
            version = values.pop("record_version")
            if version != RECORD_VERSION or weights.get_dtype() != "F32":
                raise FormatError(f"record version {version!r}, this nws_data reads {RECORD_VERSION}")
            values["hyperparameters"] = HyperParameters.from_dict(values["hyperparameters"])
            facts = dict(values) | {name: values[name] for name in _CHECKED} | {n: tuple(values[n]) for n in _TUPLES}
            return facts, file.get_tensor(_TENSOR) if with_weights else weights.get_shape()
    except (SafetensorError, OSError, NWSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise FormatError(f"{path}: not a staged training of NWS: {error}; {_REMOVE}") from error


def _construct(cls: type[_Facts], values: Mapping[str, Any], path: Path) -> _Facts:
    try:
        return cls(**values)
    except (TypeError, NWSError) as error:
        raise FormatError(f"{path}: {error}; {_REMOVE}") from error
