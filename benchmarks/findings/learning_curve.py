"""Accuracy against the number of training networks, and what its trend would give at the paper's numbers.

All numbers come from result files of tasks such as ``global/optimizer/share=0.25`` beside those of the whole task. The trend
is the least-squares line of accuracy on the binary logarithm of the number, as in :mod:`benchmarks.findings.subset_size`;
the interval of its slope (95 %, clustered by training) holds the test sample's error, neither that of the fits nor that of
the line, so what it gives at the paper's numbers is a guess, and kept between chance and 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.findings.panels import draw_curves
from benchmarks.findings.results import accuracy_row, in_order, is_trivial, labels_of
from benchmarks.findings.source import Source
from benchmarks.findings.subset_size import trend
from benchmarks.findings.tables import Tables, points, where
from benchmarks.leaderboard.files.results import Result
from nws_data.plot import style
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import load_task

PAPER = {"fixed": 1758, "random": 8035}
"""Training networks above the thresholds in the paper (Supplement C)."""


def measure(source: Source) -> Tables:
    """Return accuracies by number of training networks, and trends; raises ``MissingDataError``."""
    results = [r for r in source.result_files if not parse_task(r.task).family.regression]
    curves: dict[tuple[str, int, str], dict[int, Result]] = {}
    for result, method in zip(results, labels_of(results), strict=True):
        spec = parse_task(result.task)
        if spec.fold is None and spec.permuted is None and not is_trivial(method):
            key = (replace(spec, share=None).name, result.folds, method)
            curves.setdefault(key, {})[n_training(source, result)] = result
    curves = {key: of_size for key, of_size in curves.items() if len(of_size) > 2}
    if not curves:
        tasks = "global/optimizer global/optimizer/share=0.5 global/optimizer/share=0.25"
        raise source.no_results("three numbers of training networks", tasks, "svm-linear-480 dmc-asinh-short")
    methods = in_order([method for _, _, method in curves])
    rows, trends = [], []
    for task, folds, method in sorted(curves, key=lambda key: (key[0], key[1], methods.index(key[2]))):
        about, of_size = {"task": task, "folds": folds, "method": method}, dict(sorted(curves[task, folds, method].items()))
        rows += [about | {"networks": n} | accuracy_row(result) for n, result in of_size.items()]
        paper = PAPER[parse_task(task).family.population]
        line = trend(of_size, paper)
        chance = max(result.summary["chance"] for result in of_size.values())
        trends.append(about | line | {"paper": paper, "expected": min(max(line["at_target"], chance), 1.0)})
    return {"accuracies": pd.DataFrame(rows), "trends": pd.DataFrame(trends)}


def n_training(source: Source, result: Result) -> int:
    """Return how many networks a result's fits learned from; of folds, in the first one."""
    spec = parse_task(result.task)
    name = replace(spec, fold=0).name if result.folds else spec.name
    return sum(load_task(name, source.root).counts["train"].values())


def draw(tables: Tables) -> dict[str, Figure]:
    """Return a panel for each task: accuracies with intervals, and trends up to the paper's number."""

    def finish(panel: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
        first, chance = own.iloc[0], own["chance"].max()
        trends = where(tables["trends"], task=first["task"], folds=first["folds"]).set_index("method")
        paper = int(trends["paper"].iloc[0])
        for method, colour in colours.items():
            line = trends.loc[method]
            ends = np.array([where(own, method=method)["networks"].max(), paper])
            height = (line["at_target"] - line["slope"] * np.log2(paper / ends)).clip(chance, 1)
            panel.plot(ends, 100 * height, color=colour, linestyle=":", linewidth=1.2)
        panel.axhline(100 * chance, color=style.INK, linewidth=0.8, linestyle="--")
        panel.axvline(paper, color=style.INK, linewidth=0.8)
        kind = ", five folds" if first["folds"] else ""
        panel.set_title(f"{first['task']}; {first['trainings']} test networks{kind}", fontsize=9)
        panel.set(ylim=(0, 102), xlabel="training networks (logarithmic); line: the paper's number")
        ticks = sorted({*own["networks"], paper})
        panel.set_xticks(ticks, [f"{n:,}" for n in ticks])

    title = "95 % intervals, clustered by training; dotted: trend on the logarithm; dashed: chance"
    table = tables["accuracies"]
    names = {method: method for method in in_order(list(table["method"]))}
    return {"curves": draw_curves(table, "networks", finish, names=names, height=3.6, apart=1.02, ncols=4, title=title)}


def tell(tables: Tables) -> str:
    """Return, for each task, the trend of the best deep method and of the best other one."""
    trends = tables["trends"].sort_values("accuracy", ascending=False)
    parts = []
    for task, own in trends.groupby("task", sort=True):
        deep = own["method"].str.startswith("dmc")
        shown = pd.concat([own[deep].head(1), own[~deep].head(1)])
        said = [
            f"{r.method} {100 * r.accuracy:.0f} % with {r.longest} networks, {points(r.slope, r.low, r.high)} a doubling, "
            f"so {100 * r.expected:.0f} at {r.paper:,}"
            for r in shown.itertuples()
        ]
        parts.append(f"{task}: {'; '.join(said)}.")
    return " ".join(parts)
