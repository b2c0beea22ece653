"""How all figures look: colours that people with any colour vision tell apart, and SVG that follows the page's theme."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a1f", "#7a7a7a")
"""Okabe and Ito's, without black and with a darker yellow."""

INK, GRID = "#101112", "#cfd0d1"
"""Text and lines, in SVG the colour of the page's text; grid lines."""

MAP = "cividis"

_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "nws",
}


def theme() -> AbstractContextManager[None]:
    """Return the context in which pictures are drawn and saved."""
    import matplotlib

    return matplotlib.rc_context(_RC)


def grid(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """Return a picture of ``rows`` times ``columns`` axes, each ``width`` times ``height`` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def to_png(figure: Figure) -> bytes:
    """Return a picture as PNG on white, 150 points an inch."""
    return _saved(figure, format="png", dpi=150)


def to_svg(figure: Figure) -> str:
    """Return a picture as SVG without background, its text and lines in the page's ``currentColor``."""
    text = _saved(figure, format="svg", transparent=True, metadata={"Date": None, "Creator": None}).decode()
    return text.replace(INK, "currentColor")


def inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element for a page, its ids made the page's own by a prefix."""
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def heat(axes: Axes, values: Any, texts: Any, rows: list[str], columns: list[str], low: float, high: float) -> Any:
    """Draw a matrix as coloured cells with their texts; NaN stays grey. Returns the image, for a colour bar."""
    import numpy as np

    values = np.asarray(values, float)
    axes.set_facecolor("#8884")
    image = axes.imshow(values, cmap=MAP, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        dark = np.isfinite(value) and (value - low) / ((high - low) or 1) < 0.55
        axes.text(column, row, texts[row][column], ha="center", va="center", color="white" if dark else "black", fontsize=8)
    return image
