"""The board's tables as rows of cells, which the Markdown and the HTML page both show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.leaderboard.board.standings import CHANCE, REFERENCES, Section, differences
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
    """Headers and rows; the first cell of a row is its header. Rows of ``apart`` stand below the others, unsorted."""

    headers: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    apart: tuple[tuple[TableCell, ...], ...] = ()

    @property
    def is_text(self) -> list[bool]:
        """Whether each column holds texts."""
        return [isinstance(cell.sort, str) for cell in (*self.rows, *self.apart)[0]]


_EMPTY = TableCell(NONE)


def _text(value: str) -> TableCell:
    return TableCell(value, value)


def scores_table(section: Section) -> Table:
    """Return methods by tasks, best first: mean ± standard deviation over seeds with the interval.

    Apart are what looks at no weights, chance and the trivial baselines, and the number of test trainings.
    """

    def row(method: str) -> tuple[TableCell, ...]:
        return (_text(method), *(_score(section, task, method) for task in section.tasks))

    guesses = [section.chance(task) or 0.0 for task in section.tasks]
    counts = [section.n_trainings(task) for task in section.tasks]
    apart = [
        (_text(CHANCE), *(_value(guess, section.kind) for guess in guesses)),
        *(row(method) for method in section.trivial),
        (_text("test trainings"), *(TableCell(count_text(n), n) for n in counts)),
    ]
    rows = (row(method) for method in section.methods if method not in section.trivial)
    return Table(("method", *map(group_label, section.tasks)), tuple(rows), tuple(apart))


def group_label(task: str) -> str:
    """Return a task's name without its family: ``optimizer``, ``optimizer@1000``, ``dataset/held=adam``."""
    return task.partition("/")[2]


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
    "computed from",
)


def runs_table(results: Sequence[Result], recomputed: Collection[Path]) -> Table:
    """Return every run with what it took: options, seeds, parameters, seconds a seed, hardware, commit, time.

    ``recomputed`` has the paths of results whose predictions were scored again.
    """
    ordered = sorted(results, key=lambda r: (not r.official, r.task, r.folds, r.method, r.path))
    return Table(RUN_HEADERS, tuple(_run(result, result.path in recomputed) for result in ordered))


def _run(result: Result, recomputed: bool) -> tuple[TableCell, ...]:
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
        TableCell(_seeds_text(result), len(result.runs)),
        TableCell(spread_text(found["mean"], found["std"], result.kind), found["mean"]),
        TableCell(interval_text(found["low"], found["high"], result.kind), found["low"]),
        _text(", ".join(others).replace("_", " ") or NONE),
        TableCell(count_text(result.n_parameters), result.n_parameters),
        *(TableCell(seconds_text(seconds), seconds) for seconds in times),
        _text(f"{hardware['processor']}{f', {gpu}' if gpu else ''}"),
        TableCell(str(hardware["cores"]), hardware["cores"]),
        _text(commit),
        _text(result.finished_at),
        _text("predictions" if recomputed else "counts"),
    )


def _seeds_text(result: Result) -> str:
    n, distinct = len(result.runs), result.n_distinct
    return str(n) if distinct == n else f"{n}, all equal" if distinct == 1 else f"{n}, {distinct} differ"
