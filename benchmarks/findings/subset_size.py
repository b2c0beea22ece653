"""Accuracy against the length of windows, and its slope per doubling.

All numbers come from result files of tasks such as ``local/optimizer@1000``. The slope is that of the least-squares line of
accuracy on the binary logarithm of the length, a weighted sum of the accuracies; all lengths are tested on the same
trainings, so its interval (95 %) is clustered by training. It holds the test sample's error, not that of the fits.
Source: Eilertsen et al. 2020, Supplement F.2, Figure 18.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.findings.panels import MARKERS, draw_curves, spread
from benchmarks.findings.results import accuracy_row, in_order, is_trivial, labels_of, right_of, same_setting
from benchmarks.findings.source import Source
from benchmarks.findings.tables import Tables, points, span, where
from benchmarks.leaderboard.files.results import Result
from nws_data.plot import style
from nws_data.space.hyperparameters import CLASSES
from nws_data.tasks.metrics import paired_difference

_PARTS = {"local": "all weights", "local-conv": "convolutional", "local-fc": "fully connected"}


def measure(source: Source) -> Tables:
    """Return accuracies by length and slopes of those targets that have two lengths; raises ``MissingDataError``."""
    kept, setting = same_setting(source, lambda spec: spec.family.name in _PARTS)
    labels = labels_of([result for result, _ in kept])
    curves: dict[tuple[str, str, str], dict[int, Result]] = {}
    for (result, spec), method in zip(kept, labels, strict=True):
        if not is_trivial(method) and spec.length is not None:
            curves.setdefault((spec.family.name, method, spec.target), {})[spec.length] = result
    curves = {key: of_length for key, of_length in curves.items() if len(of_length) > 1}
    if not curves:
        tasks = " ".join(f"'local/*{length}'" for length in ("", "@100", "@300", "@1000", "@3000", "@10000", "@20000"))
        raise source.no_results("windows of several lengths", tasks, "svm-rbf-16 dmc-short")
    methods, targets = in_order([key[1] for key in curves]), list(CLASSES)
    rows, slopes = [], []
    for key in sorted(curves, key=lambda k: (list(_PARTS).index(k[0]), methods.index(k[1]), targets.index(k[2]))):
        about, of_length = dict(zip(("family", "method", "target"), key, strict=True)), dict(sorted(curves[key].items()))
        rows += [about | {"length": length} | accuracy_row(r) | {"setting": setting} for length, r in of_length.items()]
        slopes.append(about | trend(of_length))
    return {"accuracies": pd.DataFrame(rows), "slopes": pd.DataFrame(slopes)}


def trend(results: dict[int, Result], target: int | None = None) -> dict[str, Any]:
    """Return the slope of accuracy per doubling of a size with its interval, and the line's share of the variance.

    ``results`` are by size, at least two: the length of windows, or the number of training networks. What the line gives at
    the size ``target`` is added as ``at_target``.
    """
    tested = {size: right_of(result) for size, result in results.items()}
    rates = pd.DataFrame({size: pd.Series(right / n, list(ids)) for size, (ids, n, right) in tested.items()}).dropna()
    x, accuracy, n = np.log2(list(results)), rates.mean().to_numpy(), len(rates)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    found = paired_difference(np.ones(n), rates.to_numpy() @ weights, np.zeros(n))
    r_squared = np.corrcoef(x, accuracy)[0, 1] ** 2 if np.ptp(accuracy) > 0 else np.nan
    sizes = {"lengths": len(x), "shortest": min(results), "longest": max(results), "trainings": n}
    line = {"slope": found.estimate, "low": found.low, "high": found.high, "r_squared": r_squared} | sizes
    if target is None:
        return line
    at_target = accuracy.mean() + found.estimate * (np.log2(target) - x.mean())
    return line | {"accuracy": accuracy[x.argmax()], "at_target": at_target}


def draw(tables: Tables) -> dict[str, Figure]:
    """Return accuracy against length, a panel for each method and part, and the slopes."""
    table = tables["accuracies"]
    lengths = sorted(set(table["length"]))

    def finish(panel: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
        ends: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "clip_on": False, "markersize": 5}
        for target, colour in colours.items():
            panel.plot(1.02, 100 * where(own, target=target)["chance"].max(), "<", color=colour, **ends)
        first = own.iloc[0]
        about = f"{span(own['trainings'])} test trainings, {first['setting']}"
        panel.set_title(f"{first['method']}, {_PARTS[first['family']]}\n{about}", fontsize=9)
        panel.set(ylim=(0, 100), xlabel="window length (weights, logarithmic)")
        panel.set_xticks(lengths, [f"{n:,}" for n in lengths], minor=False)
        panel.tick_params(axis="x", rotation=30)

    names = {target: target.replace("_", " ") for target in CLASSES}
    curves = draw_curves(
        table, "length", finish, panels=("family", "method"), lines="target", names=names, height=3.6, apart=1.012, ncols=6,
        title="95 % intervals, clustered by training; triangles on the right: chance",
    )  # fmt: skip
    return {"lengths": curves, "slopes": _draw_slopes(tables["slopes"])}


def _draw_slopes(slopes: pd.DataFrame) -> Figure:
    panels = list(dict.fromkeys(zip(slopes["family"], slopes["method"], strict=True)))
    targets = [target for target in CLASSES if target in set(slopes["target"])]
    figure, ((panel,),) = style.grid(1, 1, 11, 3.0)
    for i, (family, method) in enumerate(panels):
        own = where(slopes, family=family, method=method)
        x = own["target"].map(targets.index) + (i - (len(panels) - 1) / 2) * 0.7 / len(panels)
        look: dict[str, Any] = {"color": style.COLOURS[i % 8], "marker": MARKERS[i % 6], "linestyle": "none", "capsize": 2}
        panel.errorbar(x, 100 * own["slope"], spread(own, "slope"), label=f"{method}, {_PARTS[family]}", **look)
    panel.axhline(0, color=style.INK, linewidth=0.8)
    panel.set_xticks(range(len(targets)), [target.replace("_", "\n") for target in targets])
    panel.set(ylabel="points per doubling", title="Slope of accuracy per doubling of the length, 95 % interval")
    panel.set_xlim(-0.5, len(targets) - 0.5)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


def tell(tables: Tables) -> str:
    """Return the steepest and flattest slopes, of a deep method if there is one, and how activation and dataset compare."""
    slopes = tables["slopes"]
    curves = dict(list(slopes.groupby(["family", "method"], sort=False)))
    family, method = max(curves, key=lambda key: (key[0] == "local", key[1].startswith("dmc")))
    own = curves[family, method].sort_values("slope", ascending=False)
    shown = own if len(own) < 5 else pd.concat([own.head(2), own.tail(2)])
    parts = [f"{r.target} {points(r.slope, r.low, r.high)}" for r in shown.itertuples()]
    text = (
        f"A doubling of the length gives {method} on {_PARTS[family]} so many points of accuracy, steepest first: "
        f"{', '.join(parts)}; of {len(own)} lines on the logarithm the median R² is {own['r_squared'].median():.2f}."
    )
    of = own.set_index("target")
    if {"activation", "dataset"} <= set(of.index):
        a, b = of.loc["activation"], of.loc["dataset"]
        overlap = "apart" if a["low"] > b["high"] or b["low"] > a["high"] else "overlapping"
        both = [points(*row[["slope", "low", "high"]]) for row in (a, b)]
        text += f" Activation {both[0]}, dataset {both[1]}: intervals {overlap}."
    return text
