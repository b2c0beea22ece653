"""Meta-classification from whole weight vectors and from windows of all, convolutional and fully connected weights.

All numbers come from result files; intervals are 95 %, clustered by training. Besides accuracies there are two paired
differences on the same test trainings: deep meta-classifiers less the linear SVM of the paper, and windows of convolutional
less those of fully connected weights.
Source: Eilertsen et al. 2020, Sections 5.2 and 5.3, Figures 2 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.findings.panels import spread
from benchmarks.findings.results import Kept, accuracy_row, in_order, is_trivial, labels_of, look_of, right_of, same_setting
from benchmarks.findings.source import Source
from benchmarks.findings.tables import Tables, percent, span, where
from benchmarks.leaderboard.files.results import Result
from nws_data.plot import style
from nws_data.space.hyperparameters import CLASSES
from nws_data.tasks.metrics import paired_difference
from nws_data.tasks.table import WINDOW_LENGTH

_PARTS = {
    "global": "whole weight vectors, fixed architecture",
    "local": f"windows of {WINDOW_LENGTH:,} of all weights, random architectures",
    "local-conv": f"windows of {WINDOW_LENGTH:,} convolutional weights",
    "local-fc": f"windows of {WINDOW_LENGTH:,} fully connected weights",
}
_LINEAR = {"global": "svm-linear-480", "local": "svm-linear-16"}


def measure(source: Source) -> Tables:
    """Return accuracies and paired differences on the population; raises ``MissingDataError`` without results."""
    kept, setting = same_setting(source, lambda s: s.family.name in _PARTS and s.length in (None, WINDOW_LENGTH))
    if not kept:
        tasks = "'global/*' 'local/*' 'local-conv/*' 'local-fc/*'"
        raise source.no_results("global/* or local/*", tasks, "'svm-*' dmc-short")
    labels = labels_of([result for result, _ in kept])
    rows = [
        {"family": spec.family.name, "target": spec.target, "method": method, "setting": setting} | accuracy_row(result)
        for (result, spec), method in zip(kept, labels, strict=True)
    ]
    orders = {"family": list(_PARTS), "target": list(CLASSES), "method": in_order([row["method"] for row in rows])}
    table = pd.DataFrame(rows).sort_values(list(orders), key=lambda c: c.map(orders[c.name].index), ignore_index=True)
    columns = ["family", "target", "comparison", "a", "b", "difference", "low", "high", "trainings"]
    return {"accuracies": table, "differences": pd.DataFrame(_differences(kept, labels), columns=columns)}


def _differences(kept: Kept, labels: list[str]) -> list[dict[str, Any]]:
    """Return each deep method less the linear SVM, and each method's windows of conv less those of fc."""
    of = {(s.family.name, s.target, label): result for (result, s), label in zip(kept, labels, strict=True)}
    found = []
    for (family, target, label), result in of.items():
        linear = of.get((family, target, _LINEAR["global" if family == "global" else "local"]))
        if label.startswith("dmc") and linear is not None:
            about = {"family": family, "target": target, "comparison": "deep less linear", "a": label, "b": linear.method}
            found.append(about | _difference(result, linear))
        other = of.get(("local-fc", target, label))
        if family == "local-conv" and other is not None and not is_trivial(label):
            about = {"family": "local", "target": target, "comparison": "conv less fc", "a": label, "b": label}
            found.append(about | _difference(result, other))
    return found


def _difference(a: Result, b: Result) -> dict[str, Any]:
    """Return the paired difference of two results on the test trainings that both have."""
    (ids, items, right_a), (ids_b, items_b, right_b) = right_of(a), right_of(b)
    shared, at, at_b = np.intersect1d(ids, ids_b, return_indices=True)
    shares = right_b[at_b] / items_b[at_b] * items[at]
    interval = paired_difference(items[at], right_a[at], shares)
    return dict(zip(("difference", "low", "high"), interval, strict=True)) | {"trainings": len(shared)}


def draw(tables: Tables) -> dict[str, Figure]:
    """Return bars from whole vectors, or from windows."""
    table = tables["accuracies"]
    looks = look_of(in_order(table["method"].tolist()))
    families, targets = list(dict.fromkeys(table["family"])), [t for t in CLASSES if t in set(table["target"])]
    figure, axes = style.grid(len(families), 1, 11, 2.7, sharex=True)
    for (panel,), family in zip(axes, families, strict=True):
        own = where(table, family=family)
        panel.set_title(f"{_PARTS[family]}; {span(own['trainings'])} test trainings, {own['setting'].iloc[0]}", loc="left")
        _draw_groups(panel, own, targets, looks)
        panel.tick_params(axis="x", labelbottom=True)
    handles = [
        *(Patch(label=method, **look) for method, look in looks.items()),
        Line2D([], [], color=style.INK, linestyle="--", label="chance"),
        Line2D([], [], color=style.INK, linewidth=1, marker="|", markersize=8, label="95 % interval, clustered by training"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8)
    name = "global" if families == ["global"] else "local"
    return {name: figure}


def _draw_groups(panel: Axes, own: pd.DataFrame, targets: list[str], looks: dict[str, dict[str, Any]]) -> None:
    width = min(0.16, 0.84 / len(looks))
    for i, (method, look) in enumerate(looks.items()):
        rows = where(own, method=method)
        x = np.array([targets.index(target) for target in rows["target"]]) + (i - (len(looks) - 1) / 2) * width
        panel.bar(x, 100 * rows["accuracy"], 0.92 * width, **look)
        lines: dict[str, Any] = {"color": style.INK, "elinewidth": 0.9, "capsize": 1.5, "capthick": 0.9, "linestyle": "none"}
        panel.errorbar(x, 100 * rows["accuracy"], spread(rows, "accuracy"), **lines)
    for target, rows in own.groupby("target"):
        place = targets.index(str(target))
        panel.hlines(100 * rows["chance"].max(), place - 0.46, place + 0.46, colors=style.INK, linestyles="--", linewidth=1)
    panel.set_xticks(range(len(targets)), [target.replace("_", "\n") for target in targets])
    panel.set(ylabel="accuracy (%)", ylim=(0, 100), xlim=(-0.5, len(targets) - 0.5))


def tell(tables: Tables) -> str:
    """Return the best method of each target, the linear SVM beside the deep method, and conv beside fc."""
    table, texts = tables["accuracies"], []
    own = table[~table["method"].map(is_trivial)]
    for family, head in (("global", "Whole vectors"), ("local", "Windows of all weights")):
        rows = where(own, family=family)
        if rows.empty:
            continue
        best = rows.loc[rows.groupby("target")["accuracy"].idxmax()].sort_values("accuracy", ascending=False)
        parts = [f"{r.target} {percent(r.accuracy, r.low, r.high)} by {r.method}" for r in best.itertuples()]
        above = best["low"] > best["chance"]
        text = f"{head}: {int(above.sum())} of {len(best)} are told above chance; best {'; '.join(parts[:3])}."
        texts.append(text + _tell_difference(tables["differences"], family, "deep less linear"))
    return " ".join(texts) + _tell_difference(tables["differences"], "local", "conv less fc")


def compared_method(rows: pd.DataFrame) -> str:
    """Return the method whose differences count, of those of one comparison: a deep one if there is one.

    Of several it is that with the most targets, then, beside the linear SVM, the one that is most accurate on average.
    """
    found = rows.groupby("a", sort=False)["difference"].agg(["size", "mean"])
    found["mean"] *= rows["comparison"].iloc[0] == "deep less linear"  # of windows of conv and fc the first
    return max(found.index, key=lambda name: (name.startswith("dmc"), *found.loc[name, ["size", "mean"]]))


def _tell_difference(table: pd.DataFrame, family: str, comparison: str) -> str:
    """Return the mean difference over targets, and how many are clear of zero: of a deep method if there is one."""
    rows = where(table, family=family, comparison=comparison)
    if rows.empty:
        return ""
    method = compared_method(rows)
    rows = where(rows, a=method)
    clear = int(((rows["low"] > 0) | (rows["high"] < 0)).sum())
    parts = comparison == "conv less fc"
    what = f"Convolutional less fully connected windows by {method}" if parts else f"{method} less {rows['b'].iloc[0]}"
    mean = 100 * rows["difference"].mean()
    text = f" {what}: {mean:+.0f} points on average, clear of zero on {clear} of {len(rows)}"
    for r in where(rows, target="dataset").itertuples() if parts else ():
        text += f", on dataset {100 * r.difference:+.0f} [{100 * r.low:+.0f}, {100 * r.high:+.0f}]"
    return text + "."
