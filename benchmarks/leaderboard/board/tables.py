"""The board's tables as rows of cells, which the Markdown and the HTML page both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.leaderboard.board.standings import REFERENCES, Section, differences
from benchmarks.leaderboard.files.formats import (
    NONE,
    count_text,
    difference_text,
    has_width,
    interval_text,
    seconds_text,
    spread_text,
    unit_of,
    value_text,
)
from benchmarks.leaderboard.files.results import Result, main_metric


@dataclass(frozen=True)
class TableCell:
    """One cell."""

    text: str
    sort: str | float | None = None  # what the column sorts by; None: always last
    small: str = ""  # a second line
    mark: str = ""  # "best", or "sure" of a difference whose interval leaves out 0


@dataclass(frozen=True)
class Table:
    """Headers and rows; the first cell of a row is its header."""

    headers: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]


_EMPTY = TableCell(NONE)


def _text(value: str) -> TableCell:
    return TableCell(value, value)


def scores_table(section: Section) -> Table:
    """Return tasks by methods: mean ± standard deviation over seeds with the interval, and chance."""
    rows = []
    for task in section.tasks:
        n, chance = section.n_trainings(task), section.chance(task)
        guess = TableCell(value_text(0.0, section.kind), 0.0) if chance is None else _value(chance, section.kind)
        row = [_text(task), TableCell(count_text(n), n), guess]
        row += [_score(section, task, method) for method in section.methods]
        rows.append(tuple(row))
    return Table(("task", "test trainings", "chance", *section.methods), tuple(rows))


def _value(value: float, kind: str) -> TableCell:
    return TableCell(value_text(value, kind), value)


def _score(section: Section, task: str, method: str) -> TableCell:
    cell = section.cells.get((task, method))
    if cell is None:
        return _EMPTY
    return TableCell(
        spread_text(cell.mean, cell.std, section.kind),
        cell.mean,
        interval_text(cell.low, cell.high, section.kind),
        "best" if cell.best else "",
    )


def differences_table(section: Section) -> Table:
    """Return each method's accuracy less that of the references on the same trainings, in percentage points."""
    found = differences(section)
    names = [name for name in REFERENCES if any(name in row.against for row in found)]
    rows = []
    for row in found:
        cells = []
        for name in names:
            interval = row.against.get(name)
            sure = interval is not None and has_width(interval) and not interval.low <= 0 <= interval.high
            cell = interval and TableCell(difference_text(interval), interval.estimate, mark="sure" if sure else "")
            cells.append(cell or _EMPTY)
        rows.append((_text(row.task), _text(row.method), *cells))
    return Table(("task", "method", *(f"less {name}" for name in names)), tuple(rows))


RUN_HEADERS = (
    "task",
    "method",
    "options",
    "unit",
    "seeds",
    "score",
    "interval",
    "other metrics",
    "parameters",
    "fit s",
    "predict s",
    "processor",
    "cores",
    "commit",
    "finished",
)


def runs_table(results: Sequence[Result]) -> Table:
    """Return every run with what it took: options, seeds, parameters, seconds a seed, hardware, commit, time."""
    ordered = sorted(results, key=lambda r: (not r.official, r.task, r.folds, r.method, r.path))
    return Table(RUN_HEADERS, tuple(_run(result) for result in ordered))


def _run(result: Result) -> tuple[TableCell, ...]:
    found = main_metric(result)
    options = ", ".join(f"{name}={value}" for name, value in result.options.items()) or NONE
    times = [sum(getattr(run, name) for run in result.runs) / len(result.runs) for name in ("fit_s", "predict_s")]
    others = [f"{name} {value['mean']:.4g}" for name, value in result.summary.items() if name in ("mae", "kendall_tau")]
    hardware, gpu = result.hardware, result.hardware["gpu"]
    commit = NONE if result.commit is None else result.commit["id"][:10] + (" + changes" if result.commit["dirty"] else "")
    return (
        _text(result.task + (f" ({result.folds} folds)" if result.folds else "")),
        _text(result.method),
        _text(options),
        _text(unit_of(result.kind)),
        TableCell(str(len(result.runs)), len(result.runs)),
        TableCell(spread_text(found["mean"], found["std"], result.kind), found["mean"]),
        TableCell(interval_text(found["low"], found["high"], result.kind), found["low"]),
        _text(", ".join(others).replace("_", " ") or NONE),
        TableCell(count_text(result.n_parameters), result.n_parameters),
        *(TableCell(seconds_text(seconds), seconds) for seconds in times),
        _text(f"{hardware['processor']}{f', {gpu}' if gpu else ''}"),
        TableCell(str(hardware["cores"]), hardware["cores"]),
        _text(commit),
        _text(result.finished_at),
    )
