"""Panels that several figures draw: accuracy over something with a line for each of several things, and matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.findings.tables import where
from nws_data.plot import style

MARKERS = "osD^vP"


def draw_curves(
    table: pd.DataFrame,
    column: str,
    finish: Callable[[Axes, pd.DataFrame, dict[str, str]], None],
    *,
    panels: tuple[str, str] = ("task", "folds"),
    lines: str = "method",
    names: Mapping[str, str],
    height: float,
    apart: float,
    **legend: Any,
) -> Figure:
    """Return a figure of accuracies over a column on a logarithmic axis.

    Args:
        table: rows with accuracy, low, high and the columns named here.
        column: what accuracy is drawn over.
        finish: adds to a panel what only this figure has, given its rows and the colour of each line.
        panels: columns whose values make a panel.
        lines: column whose values make a line.
        names: of all lines, in the order of their colours, as the legend has them.
        height: of a panel, in inches.
        apart: factor between neighbouring lines' places, so that intervals do not hide each other.
        legend: its options.
    """
    keys = list(dict.fromkeys(zip(*(table[name] for name in panels), strict=True)))
    figure, places = panels_of(len(keys), height, "accuracy (%)", sharey=True)
    order, drawn = list(names), dict[str, Any]()
    for panel, key in zip(places, keys, strict=True):
        own = where(table, **dict(zip(panels, key, strict=True)))
        colours = {}
        for line, rows in own.groupby(lines, sort=False):
            i = order.index(str(line))
            colours[str(line)] = style.COLOURS[i % 8]
            look: dict[str, Any] = {"color": style.COLOURS[i % 8], "marker": MARKERS[i % 6], "ls": "-" if i < 8 else "--"}
            x = rows[column] * apart ** (i - len(order) / 2)
            options: dict[str, Any] = {"markersize": 4, "elinewidth": 0.8, "linewidth": 1.4}
            drawn[str(line)] = panel.errorbar(x, 100 * rows["accuracy"], spread(rows, "accuracy"), **options, **look)
        panel.set_xscale("log")
        finish(panel, own, colours)
        panel.minorticks_off()
    handles = {names[line]: drawn[line] for line in order if line in drawn}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", fontsize=8, **legend)
    return figure


def panels_of(n: int, height: float, ylabel: str, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a picture, 11 inches wide, of ``n`` panels in at most two columns."""
    columns = min(2, n)
    figure, axes = style.grid(-(-n // columns), columns, 11 / columns, height, **options)
    places = [panel for line in axes for panel in line]
    for line in axes:
        line[0].set_ylabel(ylabel)
    for panel in places[n:]:
        panel.set_visible(False)
    return figure, places[:n]


def spread(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return how far ``low`` and ``high`` lie from a column, in percentage points, ``(2, rows)``."""
    return 100 * np.stack([rows[column] - rows["low"], rows["high"] - rows[column]])


def heat(axes: Axes, values: np.ndarray, texts: Any, rows: list[str], columns: list[str], low: float, high: float) -> None:
    """Draw a matrix as coloured cells with their texts; NaN stays grey."""
    axes.set_facecolor("#8884")
    axes.imshow(values, cmap=style.MAP, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        dark = np.isfinite(value) and (value - low) / ((high - low) or 1) < 0.55
        axes.text(column, row, texts[row][column], ha="center", va="center", color="white" if dark else "black", fontsize=8)
