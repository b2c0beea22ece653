"""Accuracy of deep meta-classifiers over the epochs of their training, each number of epochs a run of its own.

All numbers come from result files of methods with the option ``epochs``, that of a task's runs which name none being the
budget's. A run's schedule of the learning rate ends with it, so a short run is no beginning of a long one.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.dmc.budget import BUDGETS
from baselines.registry import find_method
from benchmarks.findings.panels import draw_curves
from benchmarks.findings.results import accuracy_row, in_order, is_trivial, labels_of
from benchmarks.findings.source import Source
from benchmarks.findings.tables import Tables, percent, span, where
from benchmarks.leaderboard.files.results import Result
from nws_data.plot import style
from nws_data.tasks.table import TaskSpec, parse_task


def measure(source: Source) -> Tables:
    """Return accuracies by task, method and epochs, and of the best other method; raises ``MissingDataError``."""
    curves: dict[tuple[str, int, str], dict[int, Result]] = {}
    others: dict[tuple[str, int], list[Result]] = {}
    for result, label in zip(source.result_files, labels_of(source.result_files, but="epochs"), strict=True):
        spec = parse_task(result.task)
        if spec.family.regression or spec.fold is not None or spec.share is not None or spec.permuted is not None:
            continue
        if "epochs" in result.options and result.method.startswith("dmc"):
            curves.setdefault((result.task, result.folds, label), {})[_epochs(result, spec)] = result
        elif not is_trivial(result.method):
            others.setdefault((result.task, result.folds), []).append(result)
    tasks = {key[:2] for key, of_epochs in curves.items() if len(of_epochs) > 2}
    if not tasks:
        methods = "dmc-asinh-short --option epochs=6, and so on with other epochs,"
        raise source.no_results("three numbers of epochs", "global/optimizer", methods)
    rows = [
        {"task": task, "folds": folds, "method": method, "epochs": n} | accuracy_row(result)
        for (task, folds, method), of_epochs in sorted(curves.items())
        for n, result in sorted(of_epochs.items())
        if (task, folds) in tasks
    ]
    best = [
        {"task": task, "folds": folds, "method": result.method} | accuracy_row(result)
        for task, folds in sorted(tasks)
        for result in sorted(others.get((task, folds), []), key=lambda r: -accuracy_row(r)["accuracy"])[:1]
    ]
    columns = ["task", "folds", "method", "accuracy", "low", "high", "sd_seeds", "seeds", "trainings", "chance"]
    return {"accuracies": pd.DataFrame(rows), "others": pd.DataFrame(best, columns=columns)}


def _epochs(result: Result, spec: TaskSpec) -> int:
    given = result.options["epochs"]
    if given is not None:
        return int(given)
    name = result.options.get("budget") or find_method(result.method).options.get("budget", "paper")
    budget = BUDGETS[str(name)]
    return budget.epochs_local if spec.family.part else budget.epochs_global


def draw(tables: Tables) -> dict[str, Figure]:
    """Return a panel for each task: accuracies with intervals over epochs, the best other method and chance as lines."""

    def finish(panel: Axes, own: pd.DataFrame, colours: dict[str, str]) -> None:
        first = own.iloc[0]
        for row in where(tables["others"], task=first["task"], folds=first["folds"]).itertuples():
            panel.axhline(100 * row.accuracy, color=style.INK, linewidth=1, linestyle=":")
            panel.text(own["epochs"].min(), 100 * row.accuracy + 1, row.method, fontsize=8, va="bottom")
        panel.axhline(100 * own["chance"].max(), color=style.INK, linewidth=0.8, linestyle="--")
        panel.set_title(f"{first['task']}; {first['trainings']} test networks, {span(own['seeds'])} seeds", fontsize=9)
        panel.set(ylim=(0, 104), xlabel="epochs of a run (logarithmic)")
        panel.set_xticks(own["epochs"].unique(), own["epochs"].unique())

    title = "95 % intervals, clustered by training; dotted: the best method without epochs; dashed: chance"
    table = tables["accuracies"]
    names = {method: method for method in in_order(list(table["method"]))}
    return {"curves": draw_curves(table, "epochs", finish, names=names, height=3.4, apart=1.03, ncols=3, title=title)}


def tell(tables: Tables) -> str:
    """Return the accuracies of each task and method, with the fewest and the most epochs."""
    parts = []
    for (task, folds, method), own in tables["accuracies"].groupby(["task", "folds", "method"], sort=False):
        ends = own.iloc[[0, -1]] if len(own) > 1 else own
        kind = ", five folds" if folds else ""
        said = [f"{percent(r.accuracy, r.low, r.high)} at {r.epochs}" for r in ends.itertuples()]
        parts.append(f"{task}{kind}, {method}: {', '.join(said)} epochs.")
    return " ".join(parts)
