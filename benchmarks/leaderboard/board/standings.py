"""The board as data: results arranged into tables of methods by tasks, with ranks, the best of each task and differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.leaderboard.board.ranking import Rank, rank_methods
from benchmarks.leaderboard.files.json_text import digest
from benchmarks.leaderboard.files.results import Result, ResultError, main_metric, mean_right
from benchmarks.leaderboard.suites import SUITES, Suite
from nws_data.tasks.metrics import Interval, clustered_accuracy, paired_difference
from nws_data.tasks.table import FAMILIES, parse_task

STATUSES = ("official", "folds", "other", "other-folds")
"""Groups of results that must not be mixed, in their order on the board."""

TRIVIAL = ("majority", "hyperparameters", "length")
"""Trivial baselines, which look at no weights: apart in every table, never its best, grey in charts."""

CHANCE = "chance"
REFERENCES = (CHANCE, *TRIVIAL)
"""What methods are compared with in paired differences."""

BUDGETS = {"1 min": 60.0, "1 h": 3_600.0, "1 day": 86_400.0, "over a day": math.inf}
"""Budget classes: the most seconds that a fit takes on the hardware which stands beside it, in ascending order."""

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
    """One table: methods by tasks of one suite, or of one family and status, all from the same data."""

    data_digest: str
    status: str  # one of STATUSES
    family: str  # such as "global"
    kind: str  # "classification" or "regression"
    suite: Suite | None  # whose tasks these are, all of them
    tasks: tuple[str, ...]
    methods: tuple[str, ...]  # labels: in the order of their ranks, then those without one, trivial baselines last
    trivial: tuple[str, ...]  # those of the labels that are of trivial baselines
    cells: dict[tuple[str, str], Cell]  # by task and method
    ranks: dict[str, Rank]  # of those that have run on all tasks, but trivial baselines

    @property
    def population(self) -> str:
        """``fixed`` or ``random``."""
        return FAMILIES[self.family].population

    def of_task(self, task: str) -> dict[str, Cell]:
        """Return the cells of a task by method, in the order of the methods."""
        return {method: self.cells[task, method] for method in self.methods if (task, method) in self.cells}

    def of_method(self, method: str) -> list[Result]:
        """Return the results of a method in the order of the tasks."""
        return [self.cells[task, method].result for task in self.tasks if (task, method) in self.cells]

    def first(self, task: str) -> Result | None:
        """Return a result of a task, for what all its results share; None where no method has run on it."""
        return next((cell.result for cell in self.of_task(task).values()), None)

    def chance(self, task: str) -> float | None:
        """Return the accuracy of guessing, or the R² of the mean of the test targets, which is 0; None of no results."""
        first = self.first(task)
        return None if first is None else first.summary["chance"] or 0.0


def arrange(results: Sequence[Result]) -> list[Section]:
    """Return the tables of a board: suites, then by population what is in none, official first, families in a fixed order.

    Raises ``ResultError`` for results of one population over different data, which nobody may rank together.
    """
    check_same_data(results)
    suites = [(suite, [r for r in results if r.official and r.task in suite.tasks]) for suite in SUITES]
    placed = {result.path for _, own in suites for result in own}
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.path not in placed:
            groups.setdefault((parse_task(result.task).family.name, _status(result)), []).append(result)

    def place(group: tuple[str, str]) -> tuple[Any, ...]:
        return (FAMILIES[group[0]].population, STATUSES.index(group[1]), _rank(group[0], FAMILIES))

    found = [_section(own, STATUSES[0], suite.tasks, suite) for suite, own in suites if own]
    for group in sorted(groups, key=place):
        own = groups[group]
        found.append(_section(own, group[1], sorted({result.task for result in own}, key=_task_order), None))
    return found


def population_of(result: Result) -> str:
    """Return the population of a result's task."""
    return parse_task(result.task).family.population


def check_same_data(results: Sequence[Result]) -> None:
    """Raise ``ResultError`` where results of one population name different data; the fewer are those to move away."""
    by_data: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        by_data.setdefault(population_of(result), {}).setdefault(result.data_digest, []).append(result)
    for population, found in by_data.items():
        (digest, most), *others = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
        for other, own in others:
            raise ResultError(
                f"results over different data are not ranked together: of population {population}, {len(most)} have data "
                f"digest {digest[:12]} and {len(own)} have {other[:12]}, the first {own[0].path}; nws info shows which "
                "data you have: move the others into a folder of their own, or run them again on it"
            )


def _status(result: Result) -> str:
    """Return one of :data:`STATUSES`; folds of a task with settings of its own stand apart from those of official tasks."""
    if not result.folds:
        return "official" if result.official else "other"
    return "folds" if parse_task(result.task).official else "other-folds"


def _section(results: list[Result], status: str, tasks: Sequence[str], suite: Suite | None) -> Section:
    labels = _labels(results)
    cells: dict[tuple[str, str], Cell] = {}
    for task in tasks:
        of_task = [result for result in results if result.task == task]
        top = max((main_metric(result)["mean"] for result in of_task), default=None)
        for result in of_task:
            found = main_metric(result)
            best = len(of_task) > 1 and result.method not in TRIVIAL and bool(found["mean"] == top)
            cells[task, labels[result.path]] = Cell(result=result, best=best, **found)
    rows: dict[str, list[Result]] = {}
    for (_, label), cell in cells.items():
        rows.setdefault(label, []).append(cell.result)
    trivial = {label for label, own in rows.items() if own[0].method in TRIVIAL}
    complete = [label for label, own in rows.items() if label not in trivial and len(own) == len(tasks)]
    ranks = rank_methods({label: [[run.score for run in result.runs] for result in rows[label]] for label in complete})

    def place(label: str) -> tuple[Any, ...]:
        number = ranks[label].place if label in ranks else len(rows) + 1
        return (label in trivial, number, -len(rows[label]), _rank(rows[label][0].method, METHODS), label)

    methods = sorted(rows, key=place)
    return Section(
        data_digest=results[0].data_digest,
        status=status,
        family=parse_task(tasks[0]).family.name,
        kind=results[0].kind,
        suite=suite,
        tasks=tuple(tasks),
        methods=tuple(methods),
        trivial=tuple(label for label in methods if label in trivial),
        cells=cells,
        ranks=ranks,
    )


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
        chance, cells = section.chance(task), section.of_task(task)
        right = {method: mean_right([run.score for run in cell.result.runs]) for method, cell in cells.items()}
        for method, own in right.items():
            n_items = np.asarray(cells[method].result.runs[0].score.n_items)
            less_chance = Interval(*(value - (chance or 0.0) for value in clustered_accuracy(n_items, own)))
            others = [name for name in TRIVIAL if name in right and name != method]
            paired = {name: paired_difference(n_items, own, right[name]) for name in others}
            found[task, method] = {CHANCE: less_chance, **paired}
    return found


@dataclass(frozen=True)
class Cost:
    """What a row of the board took."""

    fit_s: float  # seconds of one fit, the mean over tasks, seeds and folds
    n_parameters: int | None  # fitted values of the largest fit
    hardware: tuple[str, ...]  # processors with cores, and cards; each once

    @property
    def budget(self) -> str:
        """One of :data:`BUDGETS`."""
        return next(name for name, most_s in BUDGETS.items() if self.fit_s <= most_s)


def cost_of(results: Sequence[Result]) -> Cost:
    """Return the cost of one method's results, one a task."""
    fits = [sum(run.fit_s for run in result.runs) / len(result.runs) / (result.folds or 1) for result in results]
    return Cost(
        fit_s=sum(fits) / len(fits),
        n_parameters=max((r.n_parameters for r in results if r.n_parameters is not None), default=None),
        hardware=tuple(dict.fromkeys(_hardware(result) for result in results)),
    )


def _hardware(result: Result) -> str:
    hardware, gpu = result.hardware, result.hardware["gpu"]
    cores = f"{hardware['cores']} core{'' if hardware['cores'] == 1 else 's'}"
    return f"{hardware['processor']}, {cores}{f', {gpu}' if gpu else ''}"
