"""The board as data: results arranged into tables of tasks by methods, with the best of each task and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.leaderboard.files.results import Result, main_metric
from benchmarks.leaderboard.files.summary import mean_right
from nws_data.tasks.metrics import Interval, paired_difference
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import FAMILIES, TaskSpec, parse_task

STATUSES = ("official", "folds", "other")
"""Groups of results that must not be mixed, in their order on the board."""

GUARDS = ("majority", "hyperparameters", "length")
"""Methods that look at no weights: first in every table, grey in charts."""

CHANCE = "chance"
REFERENCES = (CHANCE, "majority", "hyperparameters")
"""What methods are compared with in paired differences."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one method reached on one task: its main metric (accuracy or R²)."""

    result: Result
    mean: float
    std: float | None  # None of one seed
    low: float
    high: float
    best: bool  # there are others in the table, and none has a higher mean


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table: tasks of one family and status by methods, all from the same data."""

    data_digest: str
    status: str  # a key of STATUSES
    family: str  # such as "global"
    kind: str  # "classification" or "regression"
    tasks: tuple[str, ...]
    methods: tuple[str, ...]  # labels
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
    """Return ``official``, ``folds`` or ``other``."""
    if result.official:
        return "official"
    return "folds" if result.folds else "other"


def _section(group: tuple[Any, ...], results: list[Result]) -> Section:
    digest, status, family, kind = group
    labels = _labels(results)
    tasks = sorted({result.task for result in results}, key=_task_order)
    order = list(dict.fromkeys([*GUARDS, *METHODS]))
    ranked = sorted((_rank(result.method, order), labels[result.path]) for result in results)
    cells = {}
    for task in tasks:
        of_task = [result for result in results if result.task == task]
        top = max(main_metric(result)["mean"] for result in of_task)
        for result in of_task:
            found = main_metric(result)
            cells[task, labels[result.path]] = Cell(
                result=result, best=len(of_task) > 1 and bool(found["mean"] == top), **found
            )
    return Section(
        data_digest=digest,
        status=status,
        family=family,
        kind=kind,
        tasks=tuple(tasks),
        methods=tuple(dict.fromkeys(label for _, label in ranked)),
        cells=cells,
    )


def _labels(results: Sequence[Result]) -> dict[Path, str]:
    """Return a name for each result's method, by its path: with those options that tell results of one method apart."""
    found = {}
    for result in results:
        options = [other.options for other in results if other.method == result.method]
        differing = sorted({name for o in options for name in o if any(o.get(name) != p.get(name) for p in options)})
        shown = ", ".join(f"{name}={result.options.get(name)}" for name in differing)
        found[result.path] = f"{result.method} ({shown})" if shown else result.method
    return found


def _rank(name: str, order: Any) -> int:
    """Return the position of a name in an ordered collection; unknown names come after all."""
    return list(order).index(name) if name in order else len(order)


def _task_order(task: str) -> tuple[Any, ...]:
    spec: TaskSpec = parse_task(task)
    return (spec.family.targets.index(spec.target), spec.length or 0, task)


def differences(section: Section) -> list[Differences]:
    """Return every method's paired differences from chance and from the guards; none for regression."""
    found = []
    for task in section.tasks if section.kind == "classification" else ():
        right = {
            method: _right(section.cells[task, method].result)
            for method in section.methods
            if (task, method) in section.cells
        }
        n_items = np.asarray(section.first(task).runs[0].score.n_items)
        references = {CHANCE: (section.chance(task) or 0.0) * n_items}
        references |= {name: right[name] for name in REFERENCES if name in right}
        for method, of_method in right.items():
            against = {n: paired_difference(n_items, of_method, r) for n, r in references.items() if n != method}
            found.append(Differences(task=task, method=method, against=against))
    return found


def _right(result: Result) -> np.ndarray:
    """Return the items that were right of each training, as the mean over seeds."""
    return mean_right([run.score for run in result.runs if isinstance(run.score, ClassificationScore)])
