"""The board as data: results arranged into tables of methods by tasks, with the best of each task and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.leaderboard.files.json_text import digest
from benchmarks.leaderboard.files.results import Result, main_metric
from benchmarks.leaderboard.files.summary import mean_right
from nws_data.tasks.metrics import Interval, clustered_accuracy, paired_difference
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import FAMILIES, TaskSpec, parse_task

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
    status: str  # a key of STATUSES
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

    def chance(self, task: str) -> float | None:
        """Return the accuracy of guessing; None of a regression."""
        found: float | None = self.first(task).summary["chance"]
        return found

    def n_trainings(self, task: str) -> int:
        """Return how many trainings a task is tested on."""
        return len(self.first(task).runs[0].score.trainings)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """The accuracy of a method on a task less that of each reference, on the same trainings."""

    task: str
    method: str
    against: dict[str, Interval]  # by reference; those that have run


def arrange(results: Sequence[Result]) -> list[Section]:
    """Return the tables of a board: by population and data, official first, families in a fixed order."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        family = parse_task(result.task).family.name
        groups.setdefault((result.data_digest, status_of(result), family, result.kind), []).append(result)

    def place(group: tuple[Any, ...]) -> tuple[Any, ...]:
        digest, status, family, _ = group
        return (FAMILIES[family].population, digest, STATUSES.index(status), _rank(family, FAMILIES))

    return [_section(group, groups[group]) for group in sorted(groups, key=place)]


def status_of(result: Result) -> str:
    """Return one of :data:`STATUSES`; folds of a task with settings of its own stand apart from those of official tasks."""
    if result.official:
        return "official"
    if result.folds:
        return "folds" if parse_task(result.task).official else "other-folds"
    return "other"


def _section(group: tuple[Any, ...], results: list[Result]) -> Section:
    digest, status, family, kind = group
    labels = _labels(results)
    tasks = sorted({result.task for result in results}, key=_task_order)
    cells: dict[tuple[str, str], Cell] = {}
    for task in tasks:
        of_task = [result for result in results if result.task == task]
        top = max(main_metric(result)["mean"] for result in of_task)
        for result in of_task:
            found = main_metric(result)
            cells[task, labels[result.path]] = Cell(
                result=result,
                best=len(of_task) > 1 and result.method not in TRIVIAL and bool(found["mean"] == top),
                **found,
            )
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
    found: dict[Path, str] = {}
    of_label: dict[str, set[str]] = {}
    for result in results:
        options = [other.options for other in results if other.method == result.method]
        names = {name for o in options for name in o}
        differing = sorted(n for n in names if len({(type(o.get(n, _ABSENT)), o.get(n, _ABSENT)) for o in options}) > 1)
        shown = ", ".join(f"{name}={result.options.get(name, 'absent')}" for name in differing)
        label = f"{result.method} ({shown})" if shown else result.method
        found[result.path] = label
        of_label.setdefault(label, set()).add(_options_key(result))
    return {
        result.path: found[result.path] + (f" {_options_key(result)}" if len(of_label[found[result.path]]) > 1 else "")
        for result in results
    }


def _options_key(result: Result) -> str:
    return digest({"key": [result.method, result.options]})[:8]


def _rank(name: str, order: Any) -> int:
    """Return the position of a name in an ordered collection; unknown names come after all."""
    return list(order).index(name) if name in order else len(order)


def _task_order(task: str) -> tuple[Any, ...]:
    spec: TaskSpec = parse_task(task)
    return (spec.family.targets.index(spec.target), spec.length or 0, task)


def differences(section: Section) -> list[Differences]:
    """Return every method's paired differences from chance and from the trivial baselines; none for regression."""
    found = []
    for task in section.tasks if section.kind == "classification" else ():
        right = {
            method: _right(section.cells[task, method].result)
            for method in section.methods
            if (task, method) in section.cells
        }
        n_items = np.asarray(section.first(task).runs[0].score.n_items)
        references = {name: right[name] for name in TRIVIAL if name in right}
        for method, of_method in right.items():
            against = {CHANCE: less_chance(n_items, of_method, section.chance(task) or 0.0)}
            against |= {n: paired_difference(n_items, of_method, r) for n, r in references.items() if n != method}
            found.append(Differences(task=task, method=method, against=against))
    return found


def less_chance(n_items: np.ndarray, right: np.ndarray, chance: float) -> Interval:
    """Return accuracy less chance with the accuracy's own interval, moved: it keeps a width where all are right."""
    return Interval(*(value - chance for value in clustered_accuracy(n_items, right)))


def _right(result: Result) -> np.ndarray:
    """Return the items that were right of each training, as the mean over seeds."""
    return mean_right([run.score for run in result.runs if isinstance(run.score, ClassificationScore)])
