"""``nws subset``: trainings of a dataset that meet conditions, and snapshots of them, as a dataset of their own."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nws_data.convert.stored import StoredDataset, write_copy
from nws_data.errors import SelectionError, check_one_of
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import TRAINING_SCHEMA, Row
from nws_data.progress import Progress
from nws_data.space.trajectory import CURVES, snapshots_text

_CONDITION = re.compile(r"([a-z_]+)\s*(!=|<=|>=|=|<|>)\s*(.+)")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_LENGTHS = ("n_weights", "n_weights_conv")
_COLUMNS = tuple(
    field.name
    for field in TRAINING_SCHEMA
    if field.name in CURVES or not (pa.types.is_list(field.type) or field.name in _LENGTHS)
)
"""Columns of metadata/trainings that conditions may name; a learning curve stands for its last value."""


def subset(
    root: str | Path,
    out: str | Path,
    conditions: Sequence[str] = (),
    *,
    populations: Sequence[str] = (),
    snapshots: Sequence[int] = (),
    progress: Progress | None = None,
) -> Manifest:
    """Write the trainings that meet all conditions, with some or all of their snapshots, as a dataset; return its manifest.

    Ids, numbers of snapshots, splits, plans and all values stay, but ``finite`` is of the snapshots that are chosen.
    Interrupted, the same call goes on.

    Args:
        root: the dataset.
        out: folder of the new one.
        conditions: such as ``"optimizer=adam,rmsprop"``, ``"dataset!=svhn"`` or ``"test_accuracy>0.5"``, of columns of
            metadata/trainings. Accuracies are those of the final model.
        populations: by default all.
        snapshots: numbers from 0, the initialisation, to 19, the converged model; by default all that the dataset holds.
        progress: called after every training.

    Raises:
        SelectionError: a condition that cannot be, or that no training meets, or a snapshot that the dataset does not hold.
        FormatError: the dataset is damaged, or its shards are not here.
        BuildError: ``out`` holds another dataset.
    """
    tests = [parse_condition(text) for text in conditions]
    data = StoredDataset(root)
    for name in populations:
        check_one_of("population", name, data.rows)
    held = data.manifest.snapshots
    if absent := sorted(set(snapshots) - set(held)):
        raise SelectionError(f"{root} holds {snapshots_text(held)} of each training, not {snapshots_text(absent)}")
    numbers = sorted(set(snapshots))
    chosen = {}
    for name, rows in data.rows.items():
        ids = [training for training, row in rows.items() if all(test(row) for test in tests)]
        if ids and name in (populations or data.rows):
            chosen[name] = (data.manifest.populations[name].plan, [data.source(training, numbers) for training in ids])
    if not chosen:
        raise SelectionError(f"no training of {root} meets {' and '.join(conditions)}; `nws info {root}` says what it holds")
    return write_copy(Path(out), data.manifest.image_sets, chosen, progress)


def parse_condition(text: str) -> Callable[[Row], bool]:
    """Return the test of a row of metadata/trainings that a condition describes; raises ``SelectionError``."""
    match = _CONDITION.fullmatch(text.strip())
    if not match:
        raise SelectionError(f"not a condition: {text!r}; write optimizer=adam,rmsprop or 'test_accuracy>0.5'")
    name, sign, right = match.groups()
    if name in ("snapshot", "epoch"):
        raise SelectionError(
            f"{text}: conditions choose trainings, with all their snapshots; choose snapshots by their numbers: --snapshots "
            "0 10 19, in Python snapshots=[0, 10, 19]"
        )
    check_one_of(f"{text}: column", name, _COLUMNS)
    kind = pa.float64() if name in CURVES else TRAINING_SCHEMA.field(name).type
    if sign in _ORDER and (pa.types.is_string(kind) or pa.types.is_boolean(kind)):
        raise SelectionError(f"{text}: {name} has no order; use = or !=")
    values = [_value(text, part.strip(), kind) for part in ([right] if sign in _ORDER else right.split(","))]

    def test(row: Row) -> bool:
        value = row[name][-1] if name in CURVES else row[name]
        if sign in _ORDER:
            return _ORDER[sign](value, values[0])
        return (value in values) == (sign == "=")

    return test


def _value(text: str, part: str, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return part
    try:
        return _BOOLEANS[part.lower()] if pa.types.is_boolean(kind) else float(part)
    except (KeyError, ValueError):
        wanted = "true or false" if pa.types.is_boolean(kind) else "a number"
        raise SelectionError(f"{text}: {part!r} is not {wanted}") from None
