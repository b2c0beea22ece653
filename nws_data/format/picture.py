"""trainings.svg: how a dataset's trainings went, drawn for its card without a plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nws_data.space.hyperparameters import CLASSES
from nws_data.space.image_sets import ImageSet

_COLOURS = dict(zip(CLASSES["optimizer"], ("#2a6fbb", "#d1603d", "#3a9a5b", "#8a5cc2", "#8a7a2a"), strict=False))
_MOST_CURVES = 60  # of an image set, the first
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _COLUMNS = 200, 130, 36, 44, 44, 3
_ENTRY = 90  # of the legend

COLUMNS = ("dataset", "optimizer", "snapshot_epochs", "test_accuracy")
"""Columns of metadata/trainings that are drawn."""


def draw_trainings(rows: Sequence[Mapping[str, Any]], image_sets: Sequence[ImageSet]) -> str:
    """Return an SVG with a panel for each image set that has trainings: their test accuracies along the training.

    ``rows`` are those of metadata/trainings, with :data:`COLUMNS`.
    """
    by_set = {s: [row for row in rows if row["dataset"] == s.name] for s in image_sets}
    panels = [(s, members[:_MOST_CURVES]) for s, members in by_set.items() if members]
    n_columns = min(len(panels), _COLUMNS)
    n_rows = -(-len(panels) // _COLUMNS)
    width = _LEFT + max(n_columns * (_WIDTH + _GAP), len(_COLOURS) * _ENTRY)
    height = _TOP + n_rows * (_HEIGHT + _TOP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#444">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for i, (name, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + i * _ENTRY
        lines.append(f'<path d="M{x} 12h16" stroke="{colour}" stroke-width="2"/><text x="{x + 20}" y="16">{name}</text>')
    for i, (image_set, members) in enumerate(panels):
        x, y = _LEFT + i % _COLUMNS * (_WIDTH + _GAP), _TOP + i // _COLUMNS * (_HEIGHT + _TOP)
        lines.append(f'<g transform="translate({x} {y})">{_panel(image_set, members)}</g>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(image_set: ImageSet, members: Sequence[Mapping[str, Any]]) -> str:
    parts = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#bbb"/>']
    parts += [f'<text x="-4" y="{_HEIGHT * (1 - v) + 4:.0f}" text-anchor="end">{100 * v:.0f}</text>' for v in (0, 0.5, 1)]
    parts.append(f'<text x="0" y="-5">{escape(image_set.name)[:60]}: test accuracy %</text>')
    parts.append(f'<text x="{_WIDTH}" y="{_HEIGHT + 13}" text-anchor="end">start to end of training</text>')
    y = _HEIGHT * (1 - image_set.threshold)
    parts.append(f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="#888" stroke-dasharray="4 3"/>')
    for row in members:
        epochs, curve = row["snapshot_epochs"], row["test_accuracy"]
        step = _WIDTH / (len(epochs) - 1)
        points = " ".join(f"{j * step:.0f},{_HEIGHT * (1 - curve[epoch]):.1f}" for j, epoch in enumerate(epochs))
        colour = _COLOURS[row["optimizer"]]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-opacity=".5"/>')
    return "\n".join(parts)
