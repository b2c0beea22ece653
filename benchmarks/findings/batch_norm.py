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

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import nws_data
from benchmarks.findings import style
from benchmarks.findings.source import LOWER, MissingDataError, Source
from nws_data.atomic import write_bytes
from nws_data.errors import TaskNotAvailableError
from nws_data.hashing import sha256_of
from nws_data.read.stripped import StrippedWindows
from nws_data.tasks.metrics import paired_difference
from nws_data.tasks.scores import ClassificationScore, pool
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import Task, load_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = ("dataset", "batch_size", "augmentation", "optimizer", "activation", "initialization", "filter_size")
ENOUGH = 300
"""Test trainings of a task from which the official split is used instead of folds."""

_BUILD = "nws build --population random --no-batch-norm, with the options of --data otherwise"
Pair = tuple[ClassificationScore, ClassificationScore]
"""Scores on all weights and on stripped ones."""


def measure(source: Source) -> dict[str, pd.DataFrame]:
    """Return accuracies of the cases, their differences, and how many trainings pass; raises ``MissingDataError``."""
    source.population(["random"])
    source.check_snapshots()
    roots = {True: source.root}
    if source.without_batch_norm:
        roots[False] = source.without_batch_norm
    for norm, root in roots.items():
        _check(root, norm)
    found: dict[tuple[bool, str], Pair] = {}
    above: dict[str, float | None] = {}
    why = ""
    for target in source.progress(source.targets or TARGETS, "batch norm"):
        try:
            tasks = _tasks(roots, target)
        except TaskNotAvailableError as error:
            why = str(error)
            continue
        found |= {(norm, target): _scores(source, own) for norm, own in tasks.items()}
        above[target] = tasks[True][0].spec.threshold
    if not found:
        raise MissingDataError(f"no hyper-parameter has enough trainings that pass: {why}")
    passed = [_passed(root, norm) for norm, root in roots.items()]
    return {
        "cases": _cases(found).assign(above=lambda rows: rows["target"].map(above)),
        "differences": _differences(found),
        "trainings": pd.DataFrame(passed),
    }


def _check(root: Path, norm: bool) -> None:
    columns = nws_data.open(root, "random")["batch_norm"]
    if (columns != norm).any():
        kind = "with" if norm else "without"
        option = "--data" if norm else "--without-batch-norm"
        raise MissingDataError(f"{option} takes trainings {kind} batch norm, {root} holds others; build it with {_BUILD}")


def _tasks(roots: Mapping[bool, Path], target: str) -> dict[bool, list[Task]]:
    """Return the tasks of trainings with and without batch norm, of one threshold; with it alone where none has both.

    Raises ``TaskNotAvailableError``.
    """
    first: TaskNotAvailableError | None = None
    for chosen in (roots, {True: roots[True]}):
        for name in (f"local/{target}", f"local/{target}/threshold={LOWER}"):
            try:
                return {norm: _test_sets(name, root) for norm, root in chosen.items()}
            except TaskNotAvailableError as error:
                first = first or error
    assert first is not None
    raise first


def _test_sets(name: str, root: Path) -> list[Task]:
    """Return the task where its test side is large enough, else its five folds; raises ``TaskNotAvailableError``."""
    try:
        task = load_task(name, root)
        if sum(task.counts["test"].values()) >= ENOUGH:
            return [task]
    except TaskNotAvailableError:
        pass
    return [load_task(fold.name, root) for fold in parse_task(name).folds()]


def _scores(source: Source, tasks: Sequence[Task]) -> Pair:
    """Return the scores pooled over tasks; each fit that is done is kept in the folder of figures."""
    pairs = [_fitted(source, task) for task in tasks]
    full, stripped = (pool(scores) for scores in zip(*pairs, strict=True))
    assert isinstance(full, ClassificationScore) and isinstance(stripped, ClassificationScore)
    return full, stripped


def _fitted(source: Source, task: Task) -> Pair:
    """Fit the method on a task and score it on all and on stripped weights, or read what an earlier run found."""
    from baselines.registry import make_method

    name = sha256_of(json.dumps([_VERSION, source.method, task.name, task.data_digest]).encode())[:16]
    path = source.kept / f"batch-norm-{name}.json" if source.kept else None
    try:
        kept = json.loads(path.read_bytes()) if path else []
        return ClassificationScore.from_dict(kept[0]), ClassificationScore.from_dict(kept[1])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    method = make_method(source.method, seed=0)
    method.fit(task)
    full = task.evaluate(method.predict(task.test))
    stripped = task.evaluate(method.predict(stripped_test(task)))
    assert isinstance(full, ClassificationScore) and isinstance(stripped, ClassificationScore)
    if path:
        write_bytes(path, json.dumps([full.to_dict(), stripped.to_dict()]).encode())
    return full, stripped


_VERSION = 1


def stripped_test(task: Task) -> StrippedWindows:
    """Return a local task's test side over vectors without biases and norm values; items in the order of ``task.test``."""
    test = task.test
    view = StrippedWindows(test.data, task.spec.length or 0, target=task.target, windows_per_vector=test.per_vector)
    return view.with_row_labels(test.row_labels)


def _cases(found: dict[tuple[bool, str], Pair]) -> pd.DataFrame:
    rows = []
    for (norm, target), pair in found.items():
        for stripped, score in zip((False, True), pair, strict=True):
            case = {"target": target, "batch_norm": norm, "stripped": stripped, "trainings": len(score.trainings)}
            values = {name: getattr(score, name) for name in ("accuracy", "accuracy_low", "accuracy_high", "chance")}
            rows.append(case | values)
    return pd.DataFrame(rows)


def _differences(found: dict[tuple[bool, str], Pair]) -> pd.DataFrame:
    """Return stripped less all weights, paired by training; and without less with batch norm, whose trainings differ."""
    rows: list[dict[str, Any]] = []
    for (norm, target), (full, stripped) in found.items():
        n = np.array(full.n_items)
        paired = paired_difference(n, np.array(stripped.n_right), np.array(full.n_right))
        what = f"stripped, {'with' if norm else 'without'} batch norm"
        rows.append({"target": target, "what": what} | paired._asdict())
    for target in {target: None for _, target in found}:
        if (True, target) in found and (False, target) in found:
            halves, ends = [], []
            for norm in (False, True):
                score = found[norm, target][0]
                n = np.array(score.n_items)
                own = paired_difference(n, np.array(score.n_right), np.zeros(len(n)))
                ends.append(own.estimate)
                halves.append(own.high - own.estimate)
            gain, half = ends[0] - ends[1], math.hypot(*halves)
            ends_of = {"estimate": gain, "low": gain - half, "high": gain + half}
            rows.append({"target": target, "what": "without batch norm"} | ends_of)
    return pd.DataFrame(rows)


def _passed(root: Path, norm: bool) -> dict[str, Any]:
    last = nws_data.open(root, "random").select(last=1)
    return {"batch_norm": norm, "trainings": len(last), "passed": float((last["passed"] & last["finite"]).mean())}


def draw(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """Return accuracies of the cases by hyper-parameter, with chance."""
    cases = tables["cases"]
    targets = list(dict.fromkeys(cases["target"]))
    kinds = list(_kinds(cases))
    figure, ((panel,),) = style.grid(1, 1, 11, 3.8)
    width = 0.8 / len(kinds)
    for i, (norm, stripped) in enumerate(kinds):
        rows = cases[(cases["batch_norm"] == norm) & (cases["stripped"] == stripped)].set_index("target").reindex(targets)
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
    panel.set(
        ylabel="accuracy on windows (%)", ylim=(0, 105), title="Tested on all weights, and without norm values and biases"
    )
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return {"cases": figure}


def _kinds(cases: pd.DataFrame) -> Iterator[tuple[bool, bool]]:
    for norm in (True, False):
        if (cases["batch_norm"] == norm).any():
            yield from ((norm, False), (norm, True))


def tell(tables: dict[str, pd.DataFrame]) -> str:
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
    for what, words in (
        (
            "stripped, with batch norm",
            "Without norm values and biases at evaluation, the accuracy of trainings with batch norm",
        ),
        ("stripped, without batch norm", "Without biases, that of trainings without batch norm"),
        ("without batch norm", "Against trainings with batch norm, that of trainings without it"),
    ):
        rows = differences[differences["what"] == what]
        if len(rows):
            parts.append(_changes(rows, words))
    if False not in trainings.index:
        parts.append(f"Trainings without batch norm are not compared: give them by --without-batch-norm; {_BUILD}.")
    return " ".join(parts)


def _changes(rows: pd.DataFrame, words: str) -> str:
    mean = f"{words} changes by {100 * rows['estimate'].mean():+.1f} points on average over {len(rows)} hyper-parameters"
    sure = rows[(rows["low"] > 0) | (rows["high"] < 0)]
    each = [
        f"{row.target.replace('_', ' ')} by {100 * row.estimate:+.0f} ({100 * row.low:+.0f} to {100 * row.high:+.0f})"
        for row in sure.itertuples()
    ]
    return f"{mean}; " + (f"beyond chance change {', '.join(each)}." if each else "none of them beyond chance.")
