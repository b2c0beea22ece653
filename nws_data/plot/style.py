"""How all pictures look: colours that people with any colour vision tell apart, and SVG that follows a page's theme."""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws_data.atomic import write_bytes
from nws_data.errors import ArgumentError, NWSError, one_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a1f", "#7a7a7a")
"""Okabe and Ito's, without black and with a darker yellow."""

INK, GRID = "#101112", "#cfd0d1"
"""Text and lines, in SVG the colour of the page's text; grid lines."""

MAP = "cividis"

COLUMNS = 5
"""Small panels in a row."""

SUFFIXES = (".png", ".svg")

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
    """Return the context in which pictures are drawn and saved; raises ``NWSError`` where matplotlib is missing."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise NWSError("pictures need matplotlib; install it with pip install 'nws-data[plot]'") from error
    return matplotlib.rc_context(_RC)


def grid(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    """Return a picture of ``rows`` times ``columns`` axes, each ``width`` times ``height`` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def panels_below(
    n: int, caption: str, height: float, ylabel: str, **options: Any
) -> tuple[Figure, SubFigure, SubFigure, list[Axes]]:
    """Return a picture with a caption: its upper part, ``height`` inches high, its lower part, and there ``n`` small panels.

    ``options`` are those of the panels' ``subplots``.
    """
    from matplotlib.figure import Figure

    lines = math.ceil(n / COLUMNS)
    figure = Figure(figsize=(12, height + 2.1 * lines + 0.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[height, 2.1 * lines]).ravel()
    figure.suptitle(caption, ha="left", x=0.01, fontsize=9)
    for part in (top, bottom):
        part.set_facecolor("none")
    panels = bottom.subplots(lines, COLUMNS, squeeze=False, **options).ravel().tolist()
    for panel in panels[:n:COLUMNS]:
        panel.set_ylabel(ylabel)
    for panel in panels[n:]:
        panel.set_axis_off()
    return figure, top, bottom, panels[:n]


def to_png(figure: Figure) -> bytes:
    """Return a picture as PNG on white, 150 points an inch."""
    return _saved(figure, format="png", dpi=150)


def to_svg(figure: Figure) -> str:
    """Return a picture as SVG without background, its text and lines in the page's ``currentColor``."""
    text = _saved(figure, format="svg", transparent=True, metadata=_UNDATED).decode()
    return text.replace(INK, "currentColor")


def check_suffix(path: Path) -> None:
    """Raise ``ArgumentError`` unless a file's suffix is that of a picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"{path}: suffix of a picture: {one_of(path.suffix, SUFFIXES)}")


def save(figure: Figure, path: Path) -> None:
    """Write a picture on white, SVG or else PNG by the file's suffix, see :func:`check_suffix`; raises ``BuildError``."""
    svg = path.suffix.lower() == ".svg"
    write_bytes(path, _saved(figure, format="svg", metadata=_UNDATED) if svg else to_png(figure))


_UNDATED = {"Date": None, "Creator": None}


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()
