"""Predictions with their keys: checked against what a task asks for, and stored as a file that can be scored again."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nws_data.arguments import check_text
from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, PredictionError
from nws_data.format.untrusted import MAX_TABLE_NBYTES, parse_json, read_file, read_parquet
from nws_data.tasks.table import parse_task

if TYPE_CHECKING:
    import pyarrow as pa

    from nws_data.format.manifest import Manifest

FORMAT = "nws-predictions"
FORMAT_VERSION = 1
_METADATA_KEY = b"nws"
_SHOWN_CLASSES = 12
_LARGEST = 1e100
_UNREADABLE = (FormatError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

_MOST_ROWS = 2_000_000
"""Three times what the largest task of the full dataset asks for: a tiny file may claim billions of equal rows."""


Keys = dict[str, np.ndarray]
"""What predictions are about, one row an item: ``training``, ids as text ``(n,)``; ``snapshot``, int64 ``(n,)``; for windows
``window``, int64 ``(n,)``, the number among the vector's official ones, and ``start``, where it starts in the vector."""


def key_text(keys: Keys, row: int) -> str:
    """Return a row as a person reads it, such as ``random-000012, snapshot 19, window 3 at 4410``."""
    text = f"{keys['training'][row]}, snapshot {keys['snapshot'][row]}"
    return f"{text}, window {keys['window'][row]} at {keys['start'][row]}" if "window" in keys else text


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of one method for one task."""

    task: str  # its name
    data_digest: str  # of the dataset they were made on
    keys: Keys  # what each is about
    values: np.ndarray  # (n,), class values as text, or float64 for a number

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Predictions({self.task!r}: {len(self):,} values, data {self.data_digest[:12]})"

    def check_data(self, manifest: Manifest, root: Path) -> None:
        """Raise ``PredictionError`` where they were made on another population than that of a dataset, if it has one."""
        population = parse_task(self.task).family.population
        digest = manifest.population_digest(population) if population in manifest.populations else self.data_digest
        if self.data_digest != digest:
            first = f"; the first is {key_text(self.keys, 0)}" if len(self) else ""
            raise PredictionError(
                f"all {len(self)} predictions were made on other data, digest {self.data_digest[:12]!r}; {population} in "
                f"{root} is {digest[:12]} (nws info): score them on the dataset they were made on, or predict again{first}"
            )

    def save(self, path: str | Path) -> None:
        """Write a Parquet file, whole or not at all; raises ``BuildError``.

        Columns: ``training`` (text), ``snapshot`` (int32), for windows ``window`` (int32) and ``start`` (int64), and
        ``prediction`` (text or double). The file's key-value metadata hold task and data digest as JSON under ``nws``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"training": pa.string(), "snapshot": pa.int32(), "window": pa.int32(), "start": pa.int64()}
        columns = {name: pa.array(values.tolist(), types[name]) for name, values in self.keys.items()}
        columns["prediction"] = pa.array(self.values.tolist())
        content = {"format": FORMAT, "version": FORMAT_VERSION, "task": self.task, "data_digest": self.data_digest}
        stream = BytesIO()
        table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(content)})
        pq.write_table(table, stream, write_page_checksum=True)
        write_bytes(Path(path), stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read a file that :meth:`save` wrote; raises ``PredictionError`` for anything else."""
        import pyarrow as pa

        if not Path(path).is_file():
            raise PredictionError(f"{path}: no such file; give a Parquet file that Predictions.save wrote")
        try:
            table = read_parquet(read_file(Path(path), MAX_TABLE_NBYTES), range(_MOST_ROWS + 1))
            content = parse_json((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"))
            if (content.get("format"), content.get("version")) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"its Parquet metadata do not say that it is {FORMAT} of version {FORMAT_VERSION}")
            names = ["training", "snapshot", "prediction"]
            names += ["window", "start"] if {"window", "start"} & set(table.column_names) else []
            if odd := sorted(set(table.column_names) ^ set(names)) or table.column_names[len(names) :]:
                raise ValueError(
                    f"column {odd[0]!r} is missing, unknown or doubled; a prediction file has {', '.join(names)}"
                )
            columns = {name: _column(table.column(name), name) for name in names}
            texts = {name: check_text(content[name], name) for name in ("task", "data_digest")}
            return cls(**texts, values=columns.pop("prediction"), keys=columns)
        except (*_UNREADABLE, pa.ArrowException) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise PredictionError(
                f"{path}: not a readable prediction file ({reason}); write it with Predictions.save"
            ) from error


def align(predictions: Predictions, keys: Keys) -> np.ndarray:
    """Return the predictions' values in the order of the official keys.

    Raises:
        PredictionError: values that are duplicated, missing or extra; names how many and the first.
    """
    if predictions.keys.keys() != keys.keys():
        kind = "windows: columns window and start" if "window" in keys else "whole vectors, without window and start"
        raise PredictionError(f"this task asks for predictions of {kind}; make them by task.predictions()")
    given, wanted = (list(zip(*(k[name].tolist() for name in keys), strict=True)) for k in (predictions.keys, keys))
    if len(predictions.values) != len(given):
        raise PredictionError(f"{len(predictions.values)} predictions for {len(given)} keys: give one for each")
    place = {key: row for row, key in enumerate(given)}
    twice = [row for row, key in enumerate(given) if place[key] != row]
    if twice:
        raise PredictionError(_sentence(len(twice), "duplicated", key_text(predictions.keys, twice[0]), len(wanted)))
    missing = [row for row, key in enumerate(wanted) if key not in place]
    extra = sorted(place[key] for key in place.keys() - set(wanted))
    if missing:
        also = f" and {len(extra)} are not of this task, the first {key_text(predictions.keys, extra[0])}" if extra else ""
        raise PredictionError(_sentence(len(missing), "missing", key_text(keys, missing[0]), len(wanted)) + also)
    if extra:
        raise PredictionError(_sentence(len(extra), "extra", key_text(predictions.keys, extra[0]), len(wanted)))
    return predictions.values[[place[key] for key in wanted]]


def encode_classes(values: np.ndarray, classes: Sequence[str], keys: Keys) -> np.ndarray:
    """Turn class values as text ``(n,)`` into labels, int64 ``(n,)``.

    Raises ``PredictionError`` for values that are no class; names how many and the first key.
    """
    label = {name: i for i, name in enumerate(classes)}
    texts = values.tolist()
    wrong = [row for row, value in enumerate(texts) if value not in label]
    if wrong:
        allowed = ", ".join(classes[:_SHOWN_CLASSES])
        raise PredictionError(
            f"{len(wrong)} of {len(texts)} predictions are no class of this task, the first {reprlib.repr(texts[wrong[0]])} "
            f"for {key_text(keys, wrong[0])}; classes are {allowed}"
        )
    return np.array([label[value] for value in texts], np.int64)


def check_finite(values: np.ndarray, keys: Keys) -> np.ndarray:
    """Return numbers ``(n,)`` or scores ``(n, C)`` as float64; raises ``PredictionError`` where some are not finite.

    Beyond 1e100 counts as infinite: squares of errors would be.
    """
    if values.dtype.kind not in "fiu":
        shown = reprlib.repr(values.flat[0]) if values.size else "none"
        raise PredictionError(f"this task asks for numbers, got {values.dtype} such as {shown}")
    numbers = values.astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(numbers) < _LARGEST).reshape(len(numbers), -1).all(axis=1))
    if len(wrong):
        raise PredictionError(
            f"{len(wrong)} of {len(numbers)} predictions are not finite (NaN, infinite or beyond 1e100), the first for "
            f"{key_text(keys, wrong[0])}; clip log-probabilities of 0"
        )
    return numbers


def _sentence(n: int, what: str, first: str, total: int) -> str:
    return f"{n} prediction{'' if n == 1 else 's'} {what}, the first {first}; this task asks for exactly {total}"


def _column(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return a column as text (objects), int64 or float64; a missing prediction is NaN or the text ``None``."""
    import pyarrow.types as kinds

    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    values = column.to_pylist()
    if name in ("snapshot", "window", "start"):
        if wrong := [i for i, value in enumerate(values) if type(value) is not int]:
            raise ValueError(f"{name} must be a whole number, got {values[wrong[0]]!r} in row {wrong[0]}")
        return np.array(values, np.int64)
    if name == "prediction" and (kinds.is_floating(kind) or kinds.is_integer(kind) or kinds.is_null(kind)):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    if not (kinds.is_string(kind) or kinds.is_large_string(kind) or (name == "prediction" and kinds.is_boolean(kind))):
        raise ValueError(f"{name} must be text{' or a number' * (name == 'prediction')}, got {column.type}")
    return np.array([str(value) for value in values], dtype=object)
