"""Choosing rows of metadata: pure functions of columns that return masks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from nws_data.arguments import whole_number
from nws_data.errors import SelectionError

Condition = str | float | np.generic | Collection[Any] | Callable[[np.ndarray], Any]
"""A value, a collection of values, or a callable from a column ``(n,)`` to a bool mask ``(n,)``."""

_SHOWN = 12


def matches(name: str, column: np.ndarray, condition: Condition) -> np.ndarray:
    """Return bool ``(n,)``: the rows whose column ``(n,)`` of that name meets the condition.

    Raises ``SelectionError`` for a value that no row has, or a callable that returns no mask.
    """
    if callable(condition):
        mask = np.asarray(condition(column))
        if mask.shape != column.shape or mask.dtype != np.bool_:
            wanted = f"a bool mask of shape {column.shape}"
            raise SelectionError(f"{name}: a callable condition must return {wanted}, got {mask.dtype} {mask.shape}")
        return mask
    if isinstance(condition, np.ndarray):
        condition = np.atleast_1d(condition)
    one = isinstance(condition, str | bytes) or not isinstance(condition, Collection)
    chosen: Any = [condition] if one else condition
    values = [value.item() if isinstance(value, np.generic) else value for value in chosen]
    present = np.unique(column).tolist()
    for value in values:
        if value not in present:
            raise SelectionError(f"{name}: no row has {value!r}; choose among {_shortened(present)}")
    return np.isin(column, np.array(values, dtype=column.dtype))


def _shortened(values: list[Any]) -> str:
    if len(values) <= _SHOWN:
        return ", ".join(map(repr, values)) or "nothing: the selection is empty"
    return f"{len(values)} values from {values[0]!r} to {values[-1]!r}"


def last_of_each(groups: np.ndarray, order: np.ndarray, n: int) -> np.ndarray:
    """Return bool ``(rows,)``: the ``n`` (at least 1, else ``ArgumentError``) rows of highest ``order`` in each group.

    ``groups`` ``(rows,)`` are such as training ids, ``order`` ``(rows,)`` snapshot numbers, different within a group.
    """
    whole_number("last", n, 1)
    ranked = np.lexsort((order, groups))
    ends = np.searchsorted(groups[ranked], groups[ranked], side="right")
    mask = np.zeros(len(groups), bool)
    mask[ranked[ends - np.arange(len(ranked)) <= n]] = True
    return mask
