"""Panels of accuracy over something, a task each, a line with intervals for each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.findings import style
from benchmarks.findings.results import in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP"


def draw_curves(
    table: pd.DataFrame,
    column: str,
    finish: Callable[[Axes, pd.DataFrame, Mapping[str, str]], None],
    *,
    height: float,
    apart: float,
    n_columns: int,
    title: str,
) -> Figure:
    """Return a figure of accuracies with chance, over a column on a logarithmic axis.

    Args:
        table: rows with task, folds, method, accuracy, low, high, chance and the column.
        column: what accuracy is drawn over.
        finish: adds to a panel what only this figure has, given its rows and the colour of each method.
        height: of a panel, in inches.
        apart: factor between neighbouring methods' places, so that intervals do not hide each other.
        n_columns: of the legend.
        title: of the legend.
    """
    panels = list(dict.fromkeys(zip(table["task"], table["folds"], strict=True)))
    columns = min(2, len(panels))
    figure, axes = style.grid(-(-len(panels) // columns), columns, 11 / columns, height, sharey=True)
    methods = in_order(list(table["method"]))
    places = [panel for line in axes for panel in line]
    lines: dict[str, Any] = {}
    for panel, (task, folds) in zip(places, panels, strict=False):
        own = table[(table["task"] == task) & (table["folds"] == folds)]
        colours = {}
        for method, rows in own.groupby("method", sort=False):
            i = methods.index(str(method))
            colours[str(method)] = style.COLOURS[i % 8]
            look: dict[str, Any] = {"color": colours[str(method)], "marker": _MARKERS[i % 6], "markersize": 4}
            spread = 100 * np.stack([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]])
            x = rows[column] * apart ** (i - len(methods) / 2)
            lines[str(method)] = panel.errorbar(x, 100 * rows["accuracy"], spread, elinewidth=0.8, linewidth=1.4, **look)
        panel.axhline(100 * own["chance"].max(), color=style.INK, linewidth=0.8, linestyle="--")
        panel.set_xscale("log")
        finish(panel, own, colours)
        panel.minorticks_off()
    for panel in places[len(panels) :]:
        panel.set_visible(False)
    for line in axes:
        line[0].set_ylabel("accuracy (%)")
    names = [method for method in methods if method in lines]
    handles = [lines[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=n_columns, fontsize=8, title=title)
    return figure
