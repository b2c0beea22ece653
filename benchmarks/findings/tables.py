"""Rows of tables, and numbers with their intervals in words."""

from __future__ import annotations

import pandas as pd

from nws_data.tasks.metrics import Interval

Tables = dict[str, pd.DataFrame]


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows in which these columns have these values."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def percent(accuracy: float, low: float, high: float) -> str:
    """Return an accuracy with its interval, such as ``83 % [79, 87]``."""
    return f"{100 * accuracy:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def points(value: float, low: float, high: float) -> str:
    """Return a difference of accuracies with its interval, such as ``+1.3 [-0.4, +3.0]``."""
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def columns_of(name: str, interval: Interval) -> dict[str, float]:
    """Return an interval as the columns ``NAME, NAME_low, NAME_high``."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def span(values: pd.Series) -> str:
    """Return the smallest and the largest of whole numbers, such as ``24 to 96``; one number where all are equal."""
    return " to ".join(dict.fromkeys(f"{int(value):,}" for value in (values.min(), values.max())))
