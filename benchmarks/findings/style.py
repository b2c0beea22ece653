"""How figures of the page look: that of all pictures (:mod:`nws_data.plot.style`), and what only the page needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nws_data.plot.style import COLOURS as COLOURS
from nws_data.plot.style import GRID as GRID
from nws_data.plot.style import INK as INK
from nws_data.plot.style import MAP as MAP
from nws_data.plot.style import grid as grid
from nws_data.plot.style import theme as theme
from nws_data.plot.style import to_png as to_png
from nws_data.plot.style import to_svg as to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element for a page, its ids made the page's own by a prefix."""
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


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
