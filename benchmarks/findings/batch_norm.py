"""Local meta-classification of trainings with and without batch norm, and of weights without their norm values and biases.

Figure 19's four cases: one method a hyper-parameter and kind of training, fitted on windows of all weights, then tested on
windows of all weights, and on windows of vectors from which batch norm's values and all biases were taken out. "Removed" is
taken as that: the values are left out, not set to 0, so a window of 5,000 holds 5,000 kernel values. Trainings without
batch norm are a dataset of their own. Where the official test side has fewer than 300 trainings, five folds over all
trainings are pooled; where those have too few trainings, with or without batch norm, both are of trainings above ``LOWER``
accuracy.
Source: Eilertsen et al. 2020, Supplement F.3, Figure 19.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import nws_data
from baselines.method import Method
from benchmarks.findings.fits import predicted, test_sets
from benchmarks.findings.source import LOWER, MissingDataError, Source
from benchmarks.findings.tables import Tables, where
from nws_data.errors import TaskNotAvailableError
from nws_data.plot import style
from nws_data.progress import progress_bar
from nws_data.read.views import StrippedWindows
from nws_data.tasks.metrics import paired_difference
from nws_data.tasks.scores import pool
from nws_data.tasks.task import Task

TARGETS = ("dataset", "batch_size", "augmentation", "optimizer", "activation", "initialization", "filter_size")
ENOUGH = 300
"""Test trainings of a task from which the official split is used instead of folds."""

_BUILD = "nws build --population random --no-batch-norm, with the options of --data otherwise"
Pair = tuple[Any, Any]  # scores on all weights and on stripped ones


def measure(source: Source) -> Tables:
    """Return accuracies of the cases, their differences, and how many trainings pass; raises ``MissingDataError``."""
    source.check_snapshots()
    roots = {True: source.root}
    if source.without_batch_norm:
        roots[False] = source.without_batch_norm
    passed = []
    for norm, root in roots.items():
        last = nws_data.open(root, "random").select(last=1)
        if (last["batch_norm"] != norm).any():
            option, kind = ("--data", "with") if norm else ("--without-batch-norm", "without")
            raise MissingDataError(
                f"{option} takes trainings {kind} batch norm, {root} holds others; build it with {_BUILD}"
            )
        share = float((last["passed"] & last["finite"]).mean())
        passed.append({"batch_norm": norm, "trainings": len(last), "passed": share})
    found: dict[tuple[bool, str], Pair] = {}
    above: dict[str, float | None] = {}
    why = ""
    for target in progress_bar(iterable=source.targets or TARGETS, desc="batch norm"):
        try:
            tasks = _tasks(roots, target)
        except TaskNotAvailableError as error:
            why = str(error)
            continue
        found |= {(norm, target): _scores(source, own) for norm, own in tasks.items()}
        above[target] = tasks[True][0].spec.threshold
    if not found:
        raise MissingDataError(f"no hyper-parameter has enough trainings that pass: {why}")
    cases = _cases(found).assign(above=lambda rows: rows["target"].map(above))
    return {"cases": cases, "differences": _differences(found), "trainings": pd.DataFrame(passed)}


def _tasks(roots: Mapping[bool, Path], target: str) -> dict[bool, list[Task]]:
    """Return the tasks of trainings with and without batch norm, of one threshold; with it alone where none has both.

    Raises ``TaskNotAvailableError``.
    """
    names = (f"local/{target}", f"local/{target}/threshold={LOWER}")
    *choices, last = [(name, chosen) for chosen in (roots, {True: roots[True]}) for name in names]
    for name, chosen in choices:
        with suppress(TaskNotAvailableError):
            return {norm: test_sets(name, root, ENOUGH) for norm, root in chosen.items()}
    return {True: test_sets(last[0], roots[True], ENOUGH)}


def _scores(source: Source, tasks: Sequence[Task]) -> Pair:
    found = [(task, predicted(source, "batch-norm", task, _predict)) for task in tasks]
    full, stripped = (pool([task.evaluate(values[name]) for task, values in found]) for name in ("full", "stripped"))
    return full, stripped


def _predict(method: Method, task: Task) -> dict[str, np.ndarray]:
    """Return predictions on all weights, and on the same test vectors without biases and norm values, items in one order."""
    test, length = task.test, task.spec.length or 0
    stripped = StrippedWindows(test.data, length, target=task.target, windows_per_vector=test.per_vector)
    return {"full": method.predict(test), "stripped": method.predict(stripped.with_row_labels(test.row_labels))}


def _cases(found: dict[tuple[bool, str], Pair]) -> pd.DataFrame:
    scores = ("accuracy", "accuracy_low", "accuracy_high", "chance")
    rows = [
        (target, norm, stripped, len(score.trainings), *(getattr(score, name) for name in scores))
        for (norm, target), pair in found.items()
        for stripped, score in zip((False, True), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=["target", "batch_norm", "stripped", "trainings", *scores])


def _differences(found: dict[tuple[bool, str], Pair]) -> pd.DataFrame:
    """Return stripped less all weights, paired by training; and without less with batch norm, whose trainings differ."""
    rows: list[dict[str, Any]] = []
    for (norm, target), (full, stripped) in found.items():
        paired = paired_difference(np.array(full.n_items), np.array(stripped.n_right), np.array(full.n_right))
        what = f"stripped, {'with' if norm else 'without'} batch norm"
        rows.append({"target": target, "what": what} | paired._asdict())
    for target in (target for norm, target in found if not norm):
        scores = (found[norm, target][0] for norm in (False, True))
        ends = [paired_difference(np.array(s.n_items), np.array(s.n_right), np.zeros(len(s.n_items))) for s in scores]
        gain, half = ends[0].estimate - ends[1].estimate, math.hypot(*(end.high - end.estimate for end in ends))
        values = {"estimate": gain, "low": gain - half, "high": gain + half}
        rows.append({"target": target, "what": "without batch norm"} | values)
    return pd.DataFrame(rows)


def draw(tables: Tables) -> dict[str, Figure]:
    """Return accuracies of the cases by hyper-parameter, with chance."""
    cases = tables["cases"]
    targets = list(dict.fromkeys(cases["target"]))
    kinds = [(norm, stripped) for norm in (True, False) for stripped in (False, True) if norm in set(cases["batch_norm"])]
    figure, ((panel,),) = style.grid(1, 1, 11, 3.8)
    width = 0.8 / len(kinds)
    for i, (norm, stripped) in enumerate(kinds):
        rows = where(cases, batch_norm=norm, stripped=stripped).set_index("target").reindex(targets)
        x = np.arange(len(targets)) + (i - (len(kinds) - 1) / 2) * width
        value, low, high = (100 * rows[name].to_numpy(float) for name in ("accuracy", "accuracy_low", "accuracy_high"))
        text = f"{'with' if norm else 'without'} batch norm, {'kernels alone' if stripped else 'all weights'}"
        look: dict[str, Any] = {"color": style.COLOURS[0 if norm else 1], "ecolor": style.INK, "label": text}
        hatch: dict[str, Any] = {"hatch": "///", "edgecolor": "white"} if stripped else {}
        panel.bar(x, value, 0.92 * width, yerr=np.abs([value - low, high - value]), **look, **hatch)
        chance = 100 * rows["chance"].to_numpy(float)
        label = "chance" if i == 0 else "_"
        panel.hlines(chance, x - width / 2, x + width / 2, color=style.INK, linestyle=":", linewidth=2, label=label)
    above = cases.groupby("target")["above"].first()
    marks = {target: "" if pd.isna(above[target]) else f"\nabove {above[target]:.0%}" for target in targets}
    n_cases = cases.dropna(subset=["accuracy"]).groupby("target").size()
    middles = [i + (n_cases[target] - len(kinds)) * width / 2 for i, target in enumerate(targets)]  # of the bars there are
    panel.set_xticks(middles, [target.replace("_", " ") + marks[target] for target in targets])
    panel.set_title("Tested on all weights, and without norm values and biases")
    panel.set(ylabel="accuracy on windows (%)", ylim=(0, 105))
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return {"cases": figure}


_CHANGES = {
    "stripped, with batch norm": "Without norm values and biases at evaluation, the accuracy of trainings with batch norm",
    "stripped, without batch norm": "Without biases, that of trainings without batch norm",
    "without batch norm": "Against trainings with batch norm, that of trainings without it",
}


def tell(tables: Tables) -> str:
    """Return what stripping costs, and what trainings without batch norm change."""
    differences, trainings = tables["differences"], tables["trainings"].set_index("batch_norm")
    shares = [
        f"{row.passed:.0%} of {row.trainings:,.0f} trainings {'with' if norm else 'without'} batch norm"
        for norm, row in trainings.iterrows()
    ]
    parts = [f"The threshold is passed by {' and '.join(shares)}."]
    lower = tables["cases"].dropna(subset=["above"])
    if len(lower):
        names = ", ".join(name.replace("_", " ") for name in dict.fromkeys(lower["target"]))
        parts.append(f"Too few are left for {names}: those are of trainings above {lower['above'].iloc[0]:.0%} accuracy.")
    for what, words in _CHANGES.items():
        rows = where(differences, what=what)
        if rows.empty:
            continue
        mean = f"{words} changes by {100 * rows['estimate'].mean():+.1f} points on average over {len(rows)} hyper-parameters"
        each = [
            f"{row.target.replace('_', ' ')} by {100 * row.estimate:+.0f} ({100 * row.low:+.0f} to {100 * row.high:+.0f})"
            for row in rows[(rows["low"] > 0) | (rows["high"] < 0)].itertuples()
        ]
        sure = f"beyond chance change {', '.join(each)}." if each else "none of them beyond chance."
        parts.append(f"{mean}; {sure}")
    if False not in trainings.index:
        parts.append(f"Trainings without batch norm are not compared: give them by --without-batch-norm; {_BUILD}.")
    return " ".join(parts)
