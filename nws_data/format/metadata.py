"""The metadata tables: Arrow schemas, rows of a training, deterministic Parquet files, reading back.

The columns are those of FORMAT.md. Each file's name holds the first digits of its SHA-256.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nws_data.errors import FormatError
from nws_data.format.manifest import Manifest
from nws_data.format.records import PROVENANCE, TrainingFacts
from nws_data.format.shards import KEY_PATTERN, MAX_N_WEIGHTS, SHARD_PATTERN, Position, shard_key
from nws_data.format.untrusted import MAX_TABLE_NBYTES, read_file, read_parquet
from nws_data.hashing import sha256_of
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, COLUMNS, LEARNING_RATE, POPULATIONS, HyperParameters
from nws_data.space.identity import ID_PATTERN, SPLITS
from nws_data.space.trajectory import CURVES, N_SNAPSHOTS, SNAPSHOTS, STOP_REASONS

_CLASSES: dict[str, tuple[str, ...]] = {
    **{name: values for name, values in CLASSES.items() if isinstance(values[0], str) and name != "dataset"},
    "population": POPULATIONS,
    "split": SPLITS,
    "stop_reason": STOP_REASONS,
}
_PATTERNS = {"training": ID_PATTERN, "shard": SHARD_PATTERN, "key": KEY_PATTERN}
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys((*CURVES, "final_test_accuracy"), (0, 1)),
    **dict.fromkeys(("snapshot", "row"), (0, N_SNAPSHOTS - 1)),
    **dict.fromkeys(("n_weights", "n_weights_conv"), (1, MAX_N_WEIGHTS)),
    "learning_rate": LEARNING_RATE,
}
"""Of numbers; others are at least 0."""

_ROW_GROUP = 20_000  # rows; part of what makes the bytes reproducible
_SCHEMA_HINT = "fetch it again or rebuild the dataset"
_TYPES = {"str": pa.string(), "float": pa.float64(), "bool": pa.bool_(), "int": pa.int32()}
_HYPERPARAMETER_FIELDS = [(field.name, _TYPES[str(field.type)]) for field in fields(HyperParameters)]
_LENGTH_FIELDS = [("n_weights", pa.int32()), ("n_weights_conv", pa.int32())]

_TEXT, _INT, _LONG = pa.string(), pa.int32(), pa.int64()

WEIGHTS_TYPE = pa.struct([("shard", _TEXT), ("key", _TEXT), ("row", _INT), ("offset", _LONG), ("nbytes", _LONG)])
"""The column ``weights`` of a snapshot: where its vector lies."""

_LAYER_TYPE = pa.struct([("layer", _TEXT), ("kind", _TEXT), ("start", _INT), ("stop", _INT), ("shape", pa.list_(_INT))])

SNAPSHOT_SCHEMA = pa.schema(
    [
        ("training", pa.string()),
        ("snapshot", pa.int32()),
        ("epoch", pa.int32()),
        *((name, pa.float64()) for name in CURVES),
        *_HYPERPARAMETER_FIELDS,
        *_LENGTH_FIELDS,
        ("finite", pa.bool_()),
        ("weights", WEIGHTS_TYPE),
    ]
)
"""metadata/<population>: one row per snapshot."""

TRAINING_SCHEMA = pa.schema(
    [
        ("training", pa.string()),
        ("population", pa.string()),
        ("split", pa.string()),
        ("plan_index", pa.int64()),
        ("seed", pa.int64()),
        *_HYPERPARAMETER_FIELDS,
        *_LENGTH_FIELDS,
        ("n_epochs", pa.int32()),
        ("stop_reason", pa.string()),
        ("finite", pa.bool_()),
        ("final_test_accuracy", pa.float64()),
        ("snapshot_epochs", pa.list_(pa.int32())),
        ("snapshot_stride", pa.int32()),
        *((name, pa.list_(pa.float64())) for name in CURVES),
        ("layers", pa.list_(_LAYER_TYPE)),
        *((name, pa.string()) for name in ("generator", "compute_path", "precision", "device", "torch_version")),
    ]
)
"""metadata/trainings: one row per training."""

PROVENANCE_SCHEMA = pa.schema(
    [("training", pa.string()), *((name, pa.float64() if name == "wall_s" else pa.string()) for name in PROVENANCE)]
)
"""metadata/provenance: one row per training, outside the data digest."""

Row = dict[str, Any]


def snapshot_rows(
    facts: TrainingFacts, finite: bool, shard: str, position: Position, snapshots: Sequence[int] = SNAPSHOTS
) -> list[Row]:
    """Return a training's rows of metadata/<population>, one for each of the snapshots with these numbers.

    ``finite`` says whether all their values are, ``shard`` is the path inside the dataset.
    """
    common = facts.hyperparameters.to_dict() | _lengths(facts.architecture) | {"finite": finite}
    rows = []
    for row, snapshot in enumerate(snapshots):
        epoch = facts.snapshot_epochs[snapshot]
        place = {"shard": shard, "key": shard_key(facts.plan_index), "row": row}
        place |= {"offset": position.row_offset(row), "nbytes": position.row_nbytes}
        curves = {name: getattr(facts, name)[epoch] for name in CURVES}
        first = {"training": facts.training, "snapshot": snapshot, "epoch": epoch}
        rows.append(first | curves | common | {"weights": place})
    return rows


def training_row(facts: TrainingFacts, finite: bool) -> Row:
    """Return a training's row of metadata/trainings."""
    values = facts.hyperparameters.to_dict() | _lengths(facts.architecture) | {"finite": finite}
    for name in TRAINING_SCHEMA.names:
        if name not in values and name not in ("final_test_accuracy", "layers"):
            value = getattr(facts, name)
            values[name] = list(value) if isinstance(value, tuple) else value
    layers = [
        {"layer": layer.name, "kind": t.kind, "start": t.start, "stop": t.stop, "shape": list(t.shape)}
        for layer in facts.architecture.layers
        for t in layer.tensors
    ]
    return values | {"final_test_accuracy": facts.test_accuracy[-1], "layers": layers}


def provenance_row(facts: TrainingFacts) -> Row:
    """Return a training's row of metadata/provenance."""
    return {name: getattr(facts, name) for name in PROVENANCE_SCHEMA.names}


def _lengths(architecture: Architecture) -> Row:
    return {"n_weights": architecture.n_weights, "n_weights_conv": architecture.n_weights_conv}


def make_table(rows: Iterable[Row] | pa.Table, schema: pa.Schema, old: pa.Table | None = None) -> pa.Table:
    """Return old rows and new ones as one table, sorted by population, plan index and snapshot."""
    new = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    table = pa.concat_tables([old, new]) if old is not None else new
    # Ids have six digits each, so their order as texts is that of population and plan index.
    keys = [(name, "ascending") for name in ("training", "snapshot") if name in schema.names]
    return table.sort_by(keys).combine_chunks()


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as a Parquet file; equal tables give equal bytes under one version of pyarrow."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", row_group_size=_ROW_GROUP, version="2.6", store_schema=False)
    return stream.getvalue()


def read_table(root: Path, manifest: Manifest, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a metadata file, by its path in the dataset: all columns or some, from the bytes that the manifest names.

    Raises ``FormatError`` where it is missing, damaged, of another schema, or has values that the format does not allow.
    """
    schema = {"trainings": TRAINING_SCHEMA, "provenance": PROVENANCE_SCHEMA}.get(path.split("/")[1], SNAPSHOT_SCHEMA)
    expected = pa.schema([schema.field(name) for name in columns or schema.names])
    try:
        raw = read_file(root / path, MAX_TABLE_NBYTES)
    except OSError as error:
        raise FormatError(f"{root / path}: cannot be read ({error.strerror}); {_SCHEMA_HINT}") from error
    if sha256_of(raw) != manifest.sha256[path]:
        raise FormatError(f"{root / path}: altered: its SHA-256 is not the recorded one; {_SCHEMA_HINT}")
    try:
        n_rows = manifest.n_rows(path)
        table = read_parquet(raw, range(n_rows, n_rows + 1), columns)
        types = {field.name: field.type for field in pq.read_schema(pa.BufferReader(raw))}
        for field in expected:
            if types[field.name] != field.type:  # other readers would give other values
                raise ValueError(f"{field.name} is of type {types[field.name]}, not {field.type}")
        table = table.select(expected.names).cast(expected).combine_chunks()
        for field in expected:
            _check_column(field.name, table[field.name].combine_chunks())
    except (OSError, LookupError, OverflowError, ValueError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"{root / path}: not a table of FORMAT.md ({reason[:300]}); {_SCHEMA_HINT}") from error
    return table


def _check_column(name: str, column: pa.Array) -> None:
    """Raise ``ValueError`` for values that a column cannot have, missing ones among them; fields and items as well."""
    if column.null_count:
        raise ValueError(f"{name} has {column.null_count} missing values")
    if pa.types.is_struct(column.type):
        for field, values in zip(column.type, column.flatten(), strict=True):
            _check_column(field.name, values)
    elif pa.types.is_list(column.type):
        _check_column(name, column.flatten())
    elif pa.types.is_string(column.type):
        for text in column.unique().to_pylist():
            if not (text in _CLASSES[name] if name in _CLASSES else re.fullmatch(_PATTERNS.get(name, ".*"), text)):
                raise ValueError(f"{name} cannot be {text[:100]!r}")
    elif not pa.types.is_boolean(column.type) and name != "wall_s" and len(column):
        low, high = _LIMITS.get(name, (0, np.inf))
        values = column.to_numpy(zero_copy_only=False)
        if not ((values >= low) & (values <= high)).all():  # False for NaN
            raise ValueError(f"{name} must be in [{low}, {high}], got {values.min()} to {values.max()}")
        if name in CLASSES and (wrong := set(column.unique().to_pylist()) - set(CLASSES[name])):
            raise ValueError(f"{name} cannot be {wrong.pop()}")


def facts_from_rows(training: Row, provenance: Row) -> TrainingFacts:
    """Return the training that a row of metadata/trainings and one of metadata/provenance describe.

    The inverse of :func:`training_row` and :func:`provenance_row`. Raises an ``NWSError`` for values out of range.
    """
    names = {f.name for f in fields(TrainingFacts)}
    values = {name: value for name, value in (provenance | training).items() if name in names}
    values |= {name: tuple(training[name]) for name in ("snapshot_epochs", *CURVES)}
    hyperparameters = HyperParameters.from_dict({name: training[name] for name in COLUMNS})
    return TrainingFacts(**values, hyperparameters=hyperparameters)
