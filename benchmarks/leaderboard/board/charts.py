"""Bars of scores, like the paper's Figures 2 and 4, and a picture of score against cost, as numbers for the page's SVG."""

from __future__ import annotations

import math
import zlib
from typing import Any

from baselines.registry import METHODS
from benchmarks.leaderboard.board.standings import CHANCE, TRIVIAL, Section, cost_of
from benchmarks.leaderboard.board.tables import budget_of, group_label
from benchmarks.leaderboard.files.formats import interval_text, spread_text

N_HUES = 10
_HEIGHT, _TOP, _LEFT, _BOTTOM = 250, 16, 40, 30  # pixels, like all that follow
_WIDTH = 700
_GAP = 26
_PARETO_WIDTH = 340  # of a telephone
_LEAST_S = 0.001  # seconds; fits that take less stand there


def legend(section: Section) -> dict[str, str]:
    """Return the CSS class of every method and of the dashes, in their order."""
    return colour_classes(section.methods) | {CHANCE: "dashes"}


def draw_bars(section: Section) -> dict[str, Any]:
    """Return the chart of a classification table: groups are tasks, bars methods, dashes chance."""
    colours = colour_classes(section.methods)
    tasks = [task for task in section.tasks if section.of_task(task)]
    n_groups, n_bars = len(tasks), len(section.methods)
    width = min(34.0, max(11.0, (_WIDTH / n_groups - _GAP) / n_bars))
    label = max(len(group_label(task)) for task in tasks) * 7.5
    group = max(n_bars * width + _GAP, label + 8)
    bars, groups = [], []
    for g, task in enumerate(tasks):
        middle = _LEFT + (g + 0.5) * group
        start = middle - n_bars * width / 2
        for b, method in enumerate(section.methods):
            if (task, method) in section.cells:
                bars.append(_bar(section, task, method, start + b * width, width) | {"colour": colours[method]})
        ends = {"start": round(start - 6, 2), "end": round(start + n_bars * width + 6, 2), "middle": round(middle, 2)}
        groups.append(ends | {"label": group_label(task), "chance": _y(section.chance(task) or 0.0)})
    return {
        "title": f"Accuracy of {n_bars} methods on {n_groups} tasks ({section.family}); the table has the same numbers",
        "left": _LEFT,
        "width": round(_LEFT + n_groups * group + 8),
        "height": _TOP + _HEIGHT + _BOTTOM,
        "grid": _grid(),
        "bars": bars,
        "groups": groups,
    }


def draw_pareto(section: Section) -> dict[str, Any]:
    """Return the picture of win rate against seconds of a fit: points are ranked methods, named by their place.

    A line joins those that no other method beats at no more seconds.
    """
    colours = colour_classes(section.methods)
    costs = {method: cost_of(section.of_method(method)) for method in section.ranks}
    decades = {method: math.log10(max(cost.fit_s, _LEAST_S)) for method, cost in costs.items()}
    first = math.floor(min(decades.values()))
    last = max(math.ceil(max(decades.values())), first + 1)
    step = (_PARETO_WIDTH - _LEFT - 24) / (last - first)
    named = range(first, last + 1, 1 if last - first < 7 else 2)
    best, line, points = -1.0, "", []
    for method in sorted(decades, key=lambda method: (decades[method], section.ranks[method].place)):
        rank, rate = section.ranks[method], section.ranks[method].win_rate.estimate
        x, y = round(_LEFT + step * (decades[method] - first), 2), _y(rate)
        cost = f"fit {costs[method].fit_s:,.1f} s, budget {costs[method].budget}"
        points.append({"x": x, "y": y, "place": rank.place, "colour": colours[method], "budget": costs[method].budget})
        points[-1]["title"] = f"{rank.place}. {method}: win rate {100 * rate:.0f} %, {cost}"
        if rate > best:
            best, line = rate, line + (f"H{x}V{y}" if line else f"M{x} {y}")
    return {
        "title": f"Win rate of {len(points)} methods against seconds of a fit; the table has the same numbers",
        "left": _LEFT,
        "width": _PARETO_WIDTH,
        "height": _TOP + _HEIGHT + _BOTTOM,
        "bottom": _TOP + _HEIGHT,
        "grid": _grid(),
        "decades": [(_decade(n), round(_LEFT + step * (n - first), 2)) for n in named],
        "line": f"{line}H{_PARETO_WIDTH - 8}",
        "points": points,
    }


def _decade(exponent: int) -> str:
    return f"{10 ** (exponent - 3):,}k" if exponent >= 3 else f"{10.0**exponent:.{max(0, -exponent)}f}"


def _grid() -> list[tuple[int, float]]:
    return [(percent, _y(percent / 100)) for percent in range(0, 101, 20)]


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
        slot = next((n for i in range(2 * N_HUES) if (n := (slot + i) % (2 * N_HUES)) not in taken), slot)
        taken.add(slot)
        found[method] = f"m{slot % N_HUES}" + (" again" if slot >= N_HUES else "")
    return {method: found[method] for method in methods}


def _bar(section: Section, task: str, method: str, x: float, width: float) -> dict[str, Any]:
    cell, kind = section.cells[task, method], section.kind
    y, low, high = _y(cell.mean), _y(cell.low), _y(cell.high)
    middle, cap = round(x + width / 2, 2), round(min(3.0, width / 4), 2)
    return {
        "title": f"{task}, {method}: {spread_text(cell.mean, cell.std, kind)} {interval_text(cell.low, cell.high, kind)}",
        "x": round(x + 1, 2),
        "y": y,
        "width": round(width - 2, 2),
        "height": round(_y(0) - y, 2),
        "budget": budget_of(section, method),
        "whisker": f"M{middle} {low}V{high}M{middle - cap} {low}h{2 * cap}M{middle - cap} {high}h{2 * cap}",
    }


def _y(accuracy: float) -> float:
    return round(_TOP + _HEIGHT * (1 - accuracy), 2)
