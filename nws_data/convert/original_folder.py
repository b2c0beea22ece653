"""One training of the authors' release of 2020: its folder, checked and read.

The layout is that of the authors' scripts (``classifier.py`` and ``print_all_vars`` of ``model.py``): ``meta.csv``, 20 files
``weights/001.bin`` to ``020.bin`` of float64, and of float64 too ``error.bin`` (a row an evaluation: step, and the errors in
percent of train, validation, test and smoothed validation) and ``stat.bin`` (evaluations, steps, epochs, seconds). Their
vector has the order of ours: layer by layer kernel, bias, beta, gamma, running mean and variance; kernels by output channel,
then input channel, then rows of the filter; fully connected by output unit.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nws_data import __version__
from nws_data.errors import FormatError, HyperParameterError, NWSError
from nws_data.format.records import TrainingFacts
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, IMAGE_SETS, HyperParameters
from nws_data.space.trajectory import N_SNAPSHOTS

UNKNOWN = "unknown"
COMPUTE_PATH = "original-2020"

_FLOAT64 = np.dtype("<f8")
_MAX_EVALUATIONS = 10_000  # the scripts stop at 1,001
_N_COLUMNS = 5
_STAT = 4
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def _whole(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


def _code(values: Mapping[Any, Any], parse: Callable[[str], Any] = _whole) -> Callable[[str], Any]:
    return lambda text: values[parse(text)]


def _coded(name: str) -> Callable[[str], Any]:
    return _code(dict(enumerate(CLASSES[name])))


def _shifted(name: str, change: Callable[[int], int]) -> Callable[[str], Any]:
    return _code({change(value): value for value in CLASSES[name]})


_COLUMNS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "dataset": ("dataset", _code({name.removesuffix("_mnist"): name for name in IMAGE_SETS}, str)),  # "fashion"
    "lrate": ("learning_rate", float),
    "batch_size": ("batch_size", _whole),
    "batch_norm": ("batch_norm", _code(_BOOLEANS, str.lower)),
    "augmentation": ("augmentation", _code(_BOOLEANS, str.lower)),
    "optimizer": ("optimizer", _coded("optimizer")),
    "activation": ("activation", _coded("activation")),
    "initialization": ("initialization", _coded("initialization")),
    "filter_size": ("filter_size", _whole),
    "depth_conv": ("depth_conv", _whole),
    "depth_fc": ("depth_fc", _shifted("depth_fc", lambda depth: depth - 1)),  # theirs: without the output layer
    "width_conv": ("width_conv", _shifted("width_conv", lambda width: width // 4)),  # theirs: of the first layer
    "width_fc": ("width_fc", _whole),
}
"""The authors' columns: our names, and what turns their texts into our values."""


def parse_hyperparameters(row: Mapping[str, str | None], where: str) -> HyperParameters:
    """Return the hyper-parameters of a row of ``meta.csv`` or of a list; ``where`` stands in messages.

    Raises ``FormatError`` for a missing column, an unknown code, or a training without batch norm.
    """
    values = {}
    for column, (name, parse) in _COLUMNS.items():
        text = row.get(column)
        if text is None:
            raise FormatError(f"{where}: no column {column}; the release has {', '.join(_COLUMNS)}")
        try:
            values[name] = parse(text.strip())
        except (ValueError, KeyError, OverflowError):
            raise FormatError(f"{where}: {column} has the unknown code {text[:40]!r}") from None
    try:
        hyperparameters = HyperParameters(**values)
    except HyperParameterError as error:
        raise FormatError(f"{where}: {error}") from None
    if not hyperparameters.batch_norm:
        raise FormatError(f"{where}: batch_norm is off, all trainings of the release have it")
    return hyperparameters


class OriginalFolder:
    """A training's folder, a source for the writer under the id ``training``, checked at once in all but its weights.

    Raises ``FormatError`` where something is missing, has the wrong length or an unknown code; the message names the folder.
    """

    def __init__(self, path: Path, training: str) -> None:
        self.path, self.origin = path, str(path)
        try:
            self.hyperparameters = self._read_meta()
            if training.startswith("fixed-"):
                self._check_fixed()
            self._sizes = self._check_weights()
            self.facts = self._facts(training, *self._read_errors())
        except OSError as error:
            raise FormatError(f"{path}: {Path(str(error.filename)).name} cannot be read ({error.strerror})") from error
        except NWSError as error:
            raise error if str(error).startswith(str(path)) else FormatError(f"{path}: {error}") from error

    def _read_meta(self) -> HyperParameters:
        try:
            rows = list(csv.DictReader(read_file(self.path / "meta.csv").decode().splitlines()))
        except (ValueError, csv.Error):
            rows = []
        if len(rows) != 1:
            raise FormatError(f"{self.path}: meta.csv must have a header and one row")
        return parse_hyperparameters(rows[0], f"{self.path}: meta.csv")

    def _check_fixed(self) -> None:
        for name, value in FIXED_ARCHITECTURE.items():
            if getattr(self.hyperparameters, name) != value:
                raise FormatError(f"{self.path}: of the fixed architecture {name} is {value}, meta.csv has another")

    def _check_weights(self) -> list[tuple[int, int]]:
        """Return size and time of change of every snapshot's file."""
        expected = self.architecture.n_weights * _FLOAT64.itemsize
        found = [path.stat() for path in self.files]
        for path, status in zip(self.files, found, strict=True):
            if status.st_size != expected:
                raise FormatError(
                    f"{self.path}: weights/{path.name} has {status.st_size:,} bytes, this architecture {expected:,}"
                )
        return [(status.st_size, status.st_mtime_ns) for status in found]

    @property
    def architecture(self) -> Architecture:
        """What the hyper-parameters describe."""
        return Architecture.of(self.hyperparameters)

    @property
    def files(self) -> list[Path]:
        """The files of the 20 snapshots in time order."""
        return [self.path / "weights" / f"{number:03d}.bin" for number in range(1, N_SNAPSHOTS + 1)]

    def _read_errors(self) -> tuple[np.ndarray, float]:
        """Return the errors in percent, float64 ``(evaluations, 4)`` as in ``error.bin`` after the step, and the seconds."""
        stat = self._doubles("stat.bin", _STAT)
        if len(stat) != _STAT or not np.isfinite(stat).all() or (stat < 0).any():
            raise FormatError(f"{self.path}: stat.bin must hold evaluations, steps, epochs and seconds, got {stat.tolist()}")
        table = self._doubles("error.bin", _MAX_EVALUATIONS * _N_COLUMNS)
        n = stat[0]
        if len(table) != n * _N_COLUMNS or n < N_SNAPSHOTS:
            raise FormatError(
                f"{self.path}: error.bin holds {len(table):,} values, expected {_N_COLUMNS} for each of the {n:g} "
                f"evaluations of stat.bin, which are at least {N_SNAPSHOTS}"
            )
        table = table.reshape(-1, _N_COLUMNS)
        if not ((table[:, 1:] >= 0) & (table[:, 1:] <= 100)).all():  # False for NaN
            raise FormatError(f"{self.path}: error.bin: errors must be in [0, 100] percent")
        if table[0, 0] != 0 or not all(a < b for a, b in pairwise(table[:, 0].tolist())):
            raise FormatError(f"{self.path}: error.bin: steps must ascend from 0")
        return table[:, 1:], float(stat[3])

    def _doubles(self, name: str, most: int) -> np.ndarray:
        raw = read_file(self.path / name, most * _FLOAT64.itemsize)
        if len(raw) % _FLOAT64.itemsize:
            raise FormatError(f"{self.path}: {name} has {len(raw):,} bytes, which are no float64 values")
        return np.frombuffer(raw, _FLOAT64)

    def _facts(self, training: str, errors: np.ndarray, seconds: float) -> TrainingFacts:
        """Return what is known of the training; what the release does not say is ``unknown``, a seed 0."""
        n = len(errors)
        curves = [tuple(column) for column in (1 - errors[:, :3].T / 100).tolist()]
        # Their numbers of evaluations start at 1; halves are rounded to even numbers, so it matters.
        epochs = np.round(np.linspace(1, n, N_SNAPSHOTS)).astype(int) - 1
        return TrainingFacts(
            training=training,
            seed=0,
            hyperparameters=self.hyperparameters,
            snapshot_epochs=tuple(epochs.tolist()),
            snapshot_stride=1,
            train_accuracy=curves[0],
            validation_accuracy=curves[1],
            test_accuracy=curves[2],
            stop_reason=stop_reason(errors[:, 1], errors[:, 3]),
            generator=UNKNOWN,
            compute_path=COMPUTE_PATH,
            precision="float32",
            device=UNKNOWN,
            torch_version=UNKNOWN,
            wall_s=seconds,
            finished_at=UNKNOWN,
            host=UNKNOWN,
            nws_version=f"imported by {__version__}",
            python_version=UNKNOWN,
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the folder, sizes and times of its weights, and what was read of it."""
        return sha256_of(repr((self.origin, self._sizes, self.facts)).encode())

    def weights(self) -> np.ndarray:
        """Read the 20 files as float32 ``(20, n_weights)``: TensorFlow's variables were float32, so nothing is lost.

        Raises ``FormatError`` for a file that was changed since it was checked.
        """
        n = self._sizes[0][0] // _FLOAT64.itemsize
        one = np.empty(n, _FLOAT64)  # read into again and again: fresh memory for each file costs a fifth of the import
        weights = np.empty((N_SNAPSHOTS, n), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for row, path in zip(weights, self.files, strict=True):
                try:
                    with open(path, "rb", buffering=0) as stream:
                        complete = stream.readinto(one.data) == one.nbytes == os.fstat(stream.fileno()).st_size
                except OSError as error:
                    raise FormatError(f"{path}: cannot be read ({error.strerror}); import again") from error
                if not complete:
                    raise FormatError(f"{path}: was changed during the import; import again")
                row[:] = one
        return weights


def stop_reason(validation_error: np.ndarray, smoothed_error: np.ndarray) -> str:
    """Return which rule of the authors' script ended a training with these errors in percent, one an evaluation.

    The first evaluation, from the 20th on, at which a rule holds was the last one; where none holds it was the cap.
    """
    change = np.diff(validation_error)
    falling, same = 0, 0
    for step in change.tolist():  # an equal value leaves the count of falls, a better one resets it
        falling = falling + 1 if step > 0 else falling if step == 0 else 0
        same = same + 1 if step == 0 else 0
    below = int((validation_error[1:] > smoothed_error[1:]).sum())
    return "falling" if falling >= 5 else "below_average" if below >= 30 else "stationary" if same >= 30 else "cap"
