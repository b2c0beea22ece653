"""The board's tables as rows of cells, which the Markdown and the HTML page both show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.leaderboard.board.standings import CHANCE, REFERENCES, Section, differences
from benchmarks.leaderboard.files.formats import (
    NONE,
    difference_text,
    has_width,
    interval_text,
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

    guesses = [section.chance(task) for task in section.tasks]
    counts = [len(section.first(task).runs[0].score.trainings) for task in section.tasks]
    apart = (
        (_text(CHANCE), *(TableCell(value_text(guess, section.kind), guess) for guess in guesses)),
        *(row(method) for method in section.trivial),
        (_text("test trainings"), *(TableCell(f"{n:,}", n) for n in counts)),
    )
    rows = tuple(row(method) for method in section.methods if method not in section.trivial)
    return Table(("method", *map(group_label, section.tasks)), rows, apart)


def group_label(task: str) -> str:
    """Return a task's name without its family: ``optimizer``, ``optimizer@1000``, ``dataset/held=adam``."""
    return task.partition("/")[2]


def _score(section: Section, task: str, method: str) -> TableCell:
    cell = section.cells.get((task, method))
    if cell is None:
        return _EMPTY
    text, interval = spread_text(cell.mean, cell.std, section.kind), interval_text(cell.low, cell.high, section.kind)
    return TableCell(text, cell.mean, interval, "best" if cell.best else "")


def differences_table(section: Section) -> Table:
    """Return each method's accuracy less that of the references on the same trainings, in percentage points."""
    found = differences(section)
    names = [name for name in REFERENCES if any(name in against for against in found.values())]
    rows = []
    for (task, method), against in found.items():
        cells = []
        for name in names:
            interval = against.get(name)
            sure = interval is not None and has_width(interval) and not interval.low <= 0 <= interval.high
            cell = interval and TableCell(difference_text(interval), interval.estimate, mark="sure" if sure else "")
            cells.append(cell or _EMPTY)
        rows.append((_text(task), _text(method), *cells))
    return Table(("task", "method", *(f"less {name}" for name in names)), tuple(rows))


def runs_table(results: Sequence[Result], recomputed: Collection[Path]) -> Table:
    """Return every run with what it took: options, seeds, parameters, seconds a seed, hardware, commit, time.

    ``recomputed`` has the paths of results whose predictions were scored again.
    """
    ordered = sorted(results, key=lambda r: (not r.official, r.task, r.folds, r.method, r.path))
    rows = [_run(result, result.path in recomputed) for result in ordered]
    return Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _run(result: Result, recomputed: bool) -> dict[str, TableCell]:
    """Return the cells of a run by their headers."""
    found, n, distinct = main_metric(result), len(result.runs), result.n_distinct
    seeds = f"{n}" if distinct == n else f"{n}, all equal" if distinct == 1 else f"{n}, {distinct} differ"
    options = ", ".join(f"{name}={value}" for name, value in result.options.items()) or NONE
    others = [f"{name} {value['mean']:.4g}" for name, value in result.summary.items() if name in ("mae", "kendall_tau")]
    hardware, gpu, n_parameters = result.hardware, result.hardware["gpu"], result.n_parameters
    commit = NONE if result.commit is None else result.commit["id"][:10] + (" + changes" if result.commit["dirty"] else "")
    return {
        "task": _text(result.task + (f" ({result.folds} folds)" if result.folds else "")),
        "method": _text(result.method),
        "options": _text(options),
        "unit": _text(unit_of(result.kind)),
        "seeds": TableCell(seeds, n),
        "score": TableCell(spread_text(found["mean"], found["std"], result.kind), found["mean"]),
        "interval": TableCell(interval_text(found["low"], found["high"], result.kind), found["low"]),
        "other metrics": _text(", ".join(others).replace("_", " ") or NONE),
        "parameters": TableCell(NONE if n_parameters is None else f"{n_parameters:,}", n_parameters),
        "fit s": _seconds(sum(run.fit_s for run in result.runs) / n),
        "predict s": _seconds(sum(run.predict_s for run in result.runs) / n),
        "processor": _text(f"{hardware['processor']}{f', {gpu}' if gpu else ''}"),
        "cores": TableCell(str(hardware["cores"]), hardware["cores"]),
        "commit": _text(commit),
        "finished": _text(result.finished_at),
        "computed from": _text("predictions" if recomputed else "counts"),
    }


def _seconds(value: float) -> TableCell:
    return TableCell(f"{value:.1f}" if value < 10 else f"{value:,.0f}", value)
