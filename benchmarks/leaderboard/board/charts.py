"""Bars of methods in groups of tasks with their intervals, as inline SVG, like the paper's Figures 2 and 4."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from baselines.registry import METHODS
from benchmarks.leaderboard.board.markup import Markup, element, joined
from benchmarks.leaderboard.board.standings import CHANCE, TRIVIAL, Section
from benchmarks.leaderboard.board.tables import group_label
from benchmarks.leaderboard.files.formats import interval_text, spread_text

N_HUES = 10
_HEIGHT, _TOP, _LEFT, _BOTTOM = 250, 12, 40, 30
_WIDTH = 700
_GAP = 26


@dataclass(frozen=True)
class _Layout:
    """Where bars stand, in pixels."""

    bar: float
    group: float
    n_groups: int
    n_bars: int

    @property
    def width(self) -> float:
        return _LEFT + self.n_groups * self.group + 8

    def x(self, group: int, bar: int) -> float:
        return _LEFT + (group + 0.5) * self.group + (bar - self.n_bars / 2) * self.bar

    @staticmethod
    def y(accuracy: float) -> float:
        return round(_TOP + _HEIGHT * (1 - accuracy), 2)


def chart(section: Section) -> Markup:
    """Return legend and bars of a classification table: groups are tasks, bars methods, dashes chance."""
    colours = colour_classes(section.methods)
    return joined(_legend(section.methods, colours), _bars(section, colours))


def colour_classes(methods: tuple[str, ...]) -> dict[str, str]:
    """Return a CSS class for each method of a chart: greys for those that look at no weights, hues for the others.

    A registered method has one hue in all charts, by its place in the registry; others have one by their name. Of two
    that would share one in a chart, such as variants of one method, the later takes the next that is free.
    """
    places = {name: i for i, name in enumerate(name for name in METHODS if name not in TRIVIAL)}
    found, taken = {}, set()
    for method in sorted(methods, key=lambda method: method.partition(" (")[0] not in places):
        name = method.partition(" (")[0]
        if name in TRIVIAL:
            found[method] = f"g{TRIVIAL.index(name)}"
            continue
        slot = places.get(name, zlib.crc32(name.encode())) % (2 * N_HUES)
        free = [n for i in range(2 * N_HUES) if (n := (slot + i) % (2 * N_HUES)) not in taken]
        slot = free[0] if free else slot
        taken.add(slot)
        found[method] = f"m{slot % N_HUES}" + (" again" if slot >= N_HUES else "")
    return found


def _legend(methods: tuple[str, ...], colours: dict[str, str]) -> Markup:
    items = [element("li", element("span", class_=f"swatch {colours[m]}"), m) for m in methods]
    items.append(element("li", element("span", class_="swatch dashes"), CHANCE))
    return element("ul", *items, class_="legend")


def _bars(section: Section, colours: dict[str, str]) -> Markup:
    n_groups, n_bars = len(section.tasks), len(section.methods)
    bar = min(34.0, max(11.0, (_WIDTH / n_groups - _GAP) / n_bars))
    label = max(len(group_label(task)) for task in section.tasks) * 7.5
    layout = _Layout(bar=bar, group=max(n_bars * bar + _GAP, label + 8), n_groups=n_groups, n_bars=n_bars)
    parts = [_axis(layout)]
    for g, task in enumerate(section.tasks):
        parts += [_group(section, task, g, layout, colours)]
    title = f"Accuracy of {n_bars} methods on {n_groups} tasks ({section.family}); the table below has the same numbers"
    width, height = round(layout.width), _TOP + _HEIGHT + _BOTTOM
    drawing = element(
        "svg",
        element("title", title),
        *parts,
        role="img",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )
    return element("div", drawing, class_="scroll", tabindex="0", role="region", aria_label="chart")


def _axis(layout: _Layout) -> Markup:
    parts = []
    for percent in range(0, 101, 20):
        y = layout.y(percent / 100)
        parts.append(element("line", x1=_LEFT, x2=round(layout.width, 2), y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{percent}", x=_LEFT - 6, y=y + 4, text_anchor="end"))
    return element("g", *parts)


def _group(section: Section, task: str, g: int, layout: _Layout, colours: dict[str, str]) -> Markup:
    parts = [
        _bar(section, task, method, layout.x(g, b), layout.bar, colours[method])
        for b, method in enumerate(section.methods)
        if (task, method) in section.cells
    ]
    start, end = layout.x(g, 0), layout.x(g, len(section.methods))
    chance = section.chance(task)
    if chance is not None:
        y = layout.y(chance)
        parts.append(element("line", x1=round(start - 6, 2), x2=round(end + 6, 2), y1=y, y2=y, class_="chance"))
    middle = round((start + end) / 2, 2)
    parts.append(element("text", group_label(task), x=middle, y=_TOP + _HEIGHT + 20, text_anchor="middle"))
    return element("g", *parts)


def _bar(section: Section, task: str, method: str, x: float, width: float, colour: str) -> Markup:
    cell = section.cells[task, method]
    y, middle = _Layout.y(cell.mean), round(x + width / 2, 2)
    low, high = _Layout.y(cell.low), _Layout.y(cell.high)
    numbers = f"{spread_text(cell.mean, cell.std, section.kind)} {interval_text(cell.low, cell.high, section.kind)}"
    cap = round(min(3.0, width / 4), 2)
    whisker = f"M{middle} {low}V{high}M{middle - cap} {low}h{2 * cap}M{middle - cap} {high}h{2 * cap}"
    return element(
        "g",
        element("title", f"{task}, {method}: {numbers}"),
        element("rect", x=round(x + 1, 2), y=y, width=round(width - 2, 2), height=round(_Layout.y(0) - y, 2), class_=colour),
        element("path", d=whisker, class_="whisker"),
    )
