"""The board as data: results arranged into tables of methods by tasks, with the best of each task and paired differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.leaderboard.files.json_text import digest
from benchmarks.leaderboard.files.results import Result, main_metric, mean_right
from nws_data.tasks.metrics import Interval, clustered_accuracy, paired_difference
from nws_data.tasks.table import FAMILIES, parse_task

STATUSES = ("official", "folds", "other", "other-folds")
"""Groups of results that must not be mixed, in their order on the board."""

TRIVIAL = ("majority", "hyperparameters", "length")
"""Trivial baselines, which look at no weights: apart in every table, never its best, grey in charts."""

CHANCE = "chance"
REFERENCES = (CHANCE, *TRIVIAL)
"""What methods are compared with in paired differences."""

_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one method reached on one task: its main metric (accuracy or R²)."""

    result: Result
    mean: float
    std: float | None  # None of one fit
    low: float
    high: float
    best: bool  # no trivial baseline, there are others in the table, and none has a higher mean


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table: methods by tasks of one family and status, all from the same data."""

    data_digest: str
    status: str  # one of STATUSES
    family: str  # such as "global"
    kind: str  # "classification" or "regression"
    tasks: tuple[str, ...]
    methods: tuple[str, ...]  # labels, best first, trivial baselines last
    trivial: tuple[str, ...]  # those of the labels that are of trivial baselines
    cells: dict[tuple[str, str], Cell]  # by task and method

    @property
    def population(self) -> str:
        """``fixed`` or ``random``."""
        return FAMILIES[self.family].population

    def first(self, task: str) -> Result:
        """Return a result of a task, for what all its results share."""
        return next(cell.result for (name, _), cell in self.cells.items() if name == task)

    def chance(self, task: str) -> float:
        """Return the accuracy of guessing, or the R² of the mean of the test targets, which is 0."""
        return self.first(task).summary["chance"] or 0.0


def arrange(results: Sequence[Result]) -> list[Section]:
    """Return the tables of a board: by population and data, official first, families in a fixed order."""
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for result in results:
        family = parse_task(result.task).family.name
        groups.setdefault((result.data_digest, _status(result), family, result.kind), []).append(result)

    def place(group: tuple[str, str, str, str]) -> tuple[Any, ...]:
        digest, status, family, _ = group
        return (FAMILIES[family].population, digest, STATUSES.index(status), _rank(family, FAMILIES))

    return [_section(*group, groups[group]) for group in sorted(groups, key=place)]


def _status(result: Result) -> str:
    """Return one of :data:`STATUSES`; folds of a task with settings of its own stand apart from those of official tasks."""
    if not result.folds:
        return "official" if result.official else "other"
    return "folds" if parse_task(result.task).official else "other-folds"


def _section(digest: str, status: str, family: str, kind: str, results: list[Result]) -> Section:
    labels = _labels(results)
    tasks = sorted({result.task for result in results}, key=_task_order)
    cells: dict[tuple[str, str], Cell] = {}
    for task in tasks:
        of_task = [result for result in results if result.task == task]
        top = max(main_metric(result)["mean"] for result in of_task)
        for result in of_task:
            found = main_metric(result)
            best = len(of_task) > 1 and result.method not in TRIVIAL and bool(found["mean"] == top)
            cells[task, labels[result.path]] = Cell(result=result, best=best, **found)
    trivial = {label for (_, label), cell in cells.items() if cell.result.method in TRIVIAL}
    methods = sorted({label for _, label in cells}, key=lambda label: (label in trivial, *_place(label, cells)))
    return Section(
        data_digest=digest,
        status=status,
        family=family,
        kind=kind,
        tasks=tuple(tasks),
        methods=tuple(methods),
        trivial=tuple(label for label in methods if label in trivial),
        cells=cells,
    )


def _place(label: str, cells: dict[tuple[str, str], Cell]) -> tuple[Any, ...]:
    """Return what methods are ranked by: how many tasks they have run on, their mean there, the registry's order."""
    own = [cell for (_, method), cell in cells.items() if method == label]
    mean = round(sum(cell.mean for cell in own) / len(own), 9)
    return (-len(own), -mean, _rank(own[0].result.method, METHODS), label)


def _labels(results: Sequence[Result]) -> dict[Path, str]:
    """Return a name for each result's method, by its path: with those options that tell results of one method apart.

    Where texts do not tell them apart, such as ``1`` and ``"1"``, the digest of the options does: no result may take
    another's place.
    """
    found: dict[Path, tuple[str, str]] = {}
    for result in results:
        options = [other.options for other in results if other.method == result.method]
        names = {name for o in options for name in o}
        differing = sorted(n for n in names if len({(type(o.get(n, _ABSENT)), o.get(n, _ABSENT)) for o in options}) > 1)
        shown = ", ".join(f"{name}={result.options.get(name, 'absent')}" for name in differing)
        label = f"{result.method} ({shown})" if shown else result.method
        found[result.path] = label, digest({"key": [result.method, result.options]})[:8]
    n_keys = Counter(label for label, _ in set(found.values()))
    return {path: f"{label} {key}" if n_keys[label] > 1 else label for path, (label, key) in found.items()}


def _rank(name: str, order: Any) -> int:
    """Return the position of a name in an ordered collection; unknown names come after all."""
    return list(order).index(name) if name in order else len(order)


def _task_order(task: str) -> tuple[Any, ...]:
    spec = parse_task(task)
    return (spec.family.targets.index(spec.target), spec.length or 0, task)


def differences(section: Section) -> dict[tuple[str, str], dict[str, Interval]]:
    """Return paired differences by task and method: accuracy less that of each reference that has run; none of regression.

    Less chance, the interval is the accuracy's own, moved: it keeps a width where all are right.
    """
    found: dict[tuple[str, str], dict[str, Interval]] = {}
    for task in section.tasks if section.kind == "classification" else ():
        cells = {method: section.cells[task, method] for method in section.methods if (task, method) in section.cells}
        right = {method: mean_right([run.score for run in cell.result.runs]) for method, cell in cells.items()}
        n_items = np.asarray(section.first(task).runs[0].score.n_items)
        for method, own in right.items():
            less_chance = Interval(*(value - section.chance(task) for value in clustered_accuracy(n_items, own)))
            others = [name for name in TRIVIAL if name in right and name != method]
            paired = {name: paired_difference(n_items, own, right[name]) for name in others}
            found[task, method] = {CHANCE: less_chance, **paired}
    return found
