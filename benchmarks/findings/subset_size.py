"""Accuracy against the length of windows, and its slope per doubling.

All numbers come from result files of tasks such as ``local/optimizer@1000``. The slope is that of the least-squares line of
accuracy on the binary logarithm of the length, a weighted sum of the accuracies; all lengths are tested on the same
trainings, so its interval (95 %) is clustered by training. It holds the test sample's error, not that of the fits.
Source: Eilertsen et al. 2020, Supplement F.2, Figure 18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.findings import style
from benchmarks.findings.results import accuracy_row, in_order, is_trivial, labels_of, right_of, same_setting
from benchmarks.findings.source import MissingDataError, Source
from nws_data.space.hyperparameters import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.leaderboard.files.results import Result

FAMILIES = ("local", "local-conv", "local-fc")
LENGTHS = (100, 300, 1000, 3000, 10_000, 20_000)
"""Lengths that the command for missing results names; the default length, 5,000, goes without saying."""

_KEYS = ["family", "method", "target"]
_MARKERS = "osD^vP"


def measure(source: Source) -> dict[str, pd.DataFrame]:
    """Return accuracies by length and slopes of those targets that have two lengths; raises ``MissingDataError``."""
    kept, setting = same_setting(source, lambda spec: spec.family.name in FAMILIES)
    labels = labels_of([result for result, _ in kept])
    curves: dict[tuple[str, str, str], dict[int, Result]] = {}
    for (result, spec), method in zip(kept, labels, strict=True):
        if not is_trivial(method) and spec.length is not None:
            curves.setdefault((spec.family.name, method, spec.target), {})[spec.length] = result
    curves = {key: of_length for key, of_length in curves.items() if len(of_length) > 1}
    if not curves:
        tasks = " ".join(f"'local/*@{length}'" for length in LENGTHS)
        raise MissingDataError(
            f"{source.results} has no results of this dataset for windows of several lengths; make some with nws bench run "
            f"--task 'local/*' {tasks} --method svm-rbf-16 dmc-short --data {source.root} --out {source.results}, on a "
            f"small dataset with --folds"
        )
    methods, targets = in_order([key[1] for key in curves]), list(CLASSES)
    rows, slopes = [], []
    for key in sorted(curves, key=lambda k: (FAMILIES.index(k[0]), methods.index(k[1]), targets.index(k[2]))):
        about, of_length = dict(zip(_KEYS, key, strict=True)), dict(sorted(curves[key].items()))
        rows += [about | {"length": length} | accuracy_row(r) | {"setting": setting} for length, r in of_length.items()]
        slopes.append(about | trend(of_length))
    return {"accuracies": pd.DataFrame(rows), "slopes": pd.DataFrame(slopes)}


def trend(results: dict[int, Result], target: int | None = None) -> dict[str, Any]:
    """Return the slope of accuracy per doubling of a size with its interval, and the line's share of the variance.

    Args:
        results: by size: the length of windows, the number of training networks; at least two.
        target: a size; what the line gives there is added as ``at_target``.
    """
    from nws_data.tasks.metrics import paired_difference

    tested = [right_of(result) for result in results.values()]
    shared = sorted(set.intersection(*(set(ids) for ids, _, _ in tested)))
    rates = []
    for ids, n_items, right in tested:
        rate = dict(zip(ids, right / n_items, strict=True))
        rates.append([rate[training] for training in shared])
    x = np.log2(list(results))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    gain = weights @ np.array(rates)
    found = paired_difference(np.ones(len(shared)), gain, np.zeros(len(shared)))
    accuracy = np.array(rates).mean(1)
    residual = accuracy - accuracy.mean() - found.estimate * (x - x.mean())
    total = ((accuracy - accuracy.mean()) ** 2).sum()
    r_squared = 1 - (residual**2).sum() / total if total > 0 else np.nan
    sizes = {"lengths": len(x), "shortest": min(results), "longest": max(results), "trainings": len(shared)}
    line = {"slope": found.estimate, "low": found.low, "high": found.high, "r_squared": r_squared} | sizes
    if target is None:
        return line
    at_target = accuracy.mean() + found.estimate * (np.log2(target) - x.mean())
    return line | {"accuracy": accuracy[x.argmax()], "at_target": at_target}


def draw(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """Return accuracy against length, a panel for each method and part, and the slopes."""
    table, slopes = tables["accuracies"], tables["slopes"]
    panels = list(dict.fromkeys(zip(table["family"], table["method"], strict=True)))
    columns = min(2, len(panels))
    figure, axes = style.grid(-(-len(panels) // columns), columns, 11 / columns, 3.6, sharey=True, sharex=True)
    places = [panel for line in axes for panel in line]
    lines: dict[str, Any] = {}
    for panel, (family, method) in zip(places, panels, strict=False):
        own = table[(table["family"] == family) & (table["method"] == method)]
        for target, rows in own.groupby("target", sort=False):
            i = list(CLASSES).index(str(target))
            look: dict[str, Any] = {
                "color": style.COLOURS[i % 8],
                "marker": _MARKERS[i % 6],
                "linestyle": "-" if i < 8 else "--",
            }
            spread = 100 * np.stack([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]])
            shift = 1.012 ** (i - 5)
            lines[str(target)] = panel.errorbar(
                rows["length"] * shift, 100 * rows["accuracy"], spread, markersize=4, elinewidth=0.8, linewidth=1.4, **look
            )
            panel.plot(
                1.02, 100 * rows["chance"].max(), "<", color=look["color"], transform=panel.get_yaxis_transform(),
                clip_on=False, markersize=5,
            )  # fmt: skip
        panel.set_title(f"{method}, {_part(family)}\n{_sizes(own)}, {own['setting'].iloc[0]}", fontsize=9)
        panel.set(xscale="log", ylim=(0, 100))
        panel.set_xticks(sorted(set(table["length"])), [f"{n:,}" for n in sorted(set(table["length"]))], minor=False)
        panel.tick_params(axis="x", labelbottom=True, rotation=30)
        panel.minorticks_off()
        panel.set_xlabel("window length (weights, logarithmic)")
    for panel in places[len(panels) :]:
        panel.set_visible(False)
    for line in axes:
        line[0].set_ylabel("accuracy (%)")
    order = [target for target in CLASSES if target in lines]
    title = "95 % intervals, clustered by training; triangles on the right: chance"
    names = [target.replace("_", " ") for target in order]
    figure.legend([lines[t] for t in order], names, loc="outside lower center", ncols=6, fontsize=8, title=title)
    return {"lengths": figure, "slopes": _draw_slopes(slopes)}


def _draw_slopes(slopes: pd.DataFrame) -> Figure:
    panels = list(dict.fromkeys(zip(slopes["family"], slopes["method"], strict=True)))
    targets = [target for target in CLASSES if target in set(slopes["target"])]
    figure, ((panel,),) = style.grid(1, 1, 11, 3.0)
    for i, (family, method) in enumerate(panels):
        own = slopes[(slopes["family"] == family) & (slopes["method"] == method)]
        x = own["target"].map(targets.index) + (i - (len(panels) - 1) / 2) * 0.7 / len(panels)
        spread = 100 * np.stack([own["slope"] - own["low"], own["high"] - own["slope"]])
        look: dict[str, Any] = {"color": style.COLOURS[i % 8], "marker": _MARKERS[i % 6], "linestyle": "none", "capsize": 2}
        panel.errorbar(x, 100 * own["slope"], spread, label=f"{method}, {_part(family)}", **look)
    panel.axhline(0, color=style.INK, linewidth=0.8)
    panel.set_xticks(range(len(targets)), [target.replace("_", "\n") for target in targets])
    panel.set(ylabel="points per doubling", title="Slope of accuracy per doubling of the length, 95 % interval")
    panel.set_xlim(-0.5, len(targets) - 0.5)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _part(family: str) -> str:
    return {"local": "all weights", "local-conv": "convolutional", "local-fc": "fully connected"}[family]


def _sizes(own: pd.DataFrame) -> str:
    sizes = sorted({int(own["trainings"].min()), int(own["trainings"].max())})
    return f"{' to '.join(map(str, sizes))} test trainings"


def tell(tables: dict[str, pd.DataFrame]) -> str:
    """Return the steepest and flattest slopes, of a deep method if there is one, and how activation and dataset compare."""
    slopes = tables["slopes"]
    curves = dict(list(slopes.groupby(["family", "method"], sort=False)))
    family, method = max(curves, key=lambda key: (key[0] == "local", key[1].startswith("dmc")))
    own = curves[family, method].sort_values("slope", ascending=False)
    shown = own if len(own) < 5 else pd.concat([own.head(2), own.tail(2)])
    parts = [f"{r.target} {_points(r.slope, r.low, r.high)}" for r in shown.itertuples()]
    text = (
        f"A doubling of the length gives {method} on {_part(family)} so many points of accuracy, steepest first: "
        f"{', '.join(parts)}; of {len(own)} lines on the logarithm the median R² is {own['r_squared'].median():.2f}."
    )
    of = own.set_index("target")
    if {"activation", "dataset"} <= set(of.index):
        a, b = of.loc["activation"], of.loc["dataset"]
        overlap = "apart" if a["low"] > b["high"] or b["low"] > a["high"] else "overlapping"
        both = [_points(row["slope"], row["low"], row["high"]) for row in (a, b)]
        text += f" Activation {both[0]}, dataset {both[1]}: intervals {overlap}."
    return text


def _points(slope: float, low: float, high: float) -> str:
    return f"{100 * slope:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
