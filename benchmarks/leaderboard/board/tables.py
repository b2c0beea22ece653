"""The board's tables as rows of cells, which the Markdown and the HTML page both show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.leaderboard.board.standings import CHANCE, REFERENCES, Cost, Section, cost_of, differences
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
    budget: str = ""  # of a row's first cell: the budget class by which the page may hide the row


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


def scores_table(section: Section, recomputed: Collection[Path]) -> Table:
    """Return methods by tasks in the order of their ranks, with what they cost.

    A method that has not run on all tasks has no rank, but says on how many it has. Apart are what looks at no weights,
    chance and the trivial baselines, and the number of test trainings. ``recomputed`` has the paths of results whose
    predictions were scored again.
    """

    def row(method: str) -> tuple[TableCell, ...]:
        own = section.of_method(method)
        cost, scores = cost_of(own), [_score(section, task, method) for task in section.tasks]
        fit = replace(_seconds(cost.fit_s), small=cost.budget)
        note = "from predictions" if all(result.path in recomputed for result in own) else ""
        head = TableCell(method, method, note, budget=budget_of(section, method))
        return (head, *_rank_cells(section, method), fit, *scores, _parameters(cost), _text("; ".join(cost.hardware)))

    def line(name: str, values: Sequence[TableCell]) -> tuple[TableCell, ...]:
        return (_text(name), *[_EMPTY] * 3, *values, *[_EMPTY] * 2)

    guesses = [section.chance(task) for task in section.tasks]
    counts = [len(first.test["trainings"]) if (first := section.first(task)) else 0 for task in section.tasks]
    apart = (
        line(CHANCE, [_EMPTY if guess is None else TableCell(value_text(guess, section.kind), guess) for guess in guesses]),
        *(row(method) for method in section.trivial),
        line("test trainings", [TableCell(f"{n:,}", n) if n else _EMPTY for n in counts]),
    )
    rows = tuple(row(method) for method in section.methods if method not in section.trivial)
    tasks = map(group_label, section.tasks)
    return Table(("method", "rank", "win rate", "fit s", *tasks, "parameters", "hardware"), rows, apart)


def _rank_cells(section: Section, method: str) -> tuple[TableCell, TableCell]:
    """Return place with mean rank, and win rate in %; of a method without a rank, how many tasks it has run on."""
    rank = section.ranks.get(method)
    if rank is None:
        ran = "" if method in section.trivial else f"{len(section.of_method(method))} of {len(section.tasks)} tasks"
        return TableCell(NONE, small=ran), _EMPTY
    mean, low, high = rank.mean
    best = "best" if rank.place == 1 and len(section.ranks) > 1 else ""
    place = TableCell(f"{rank.place}", mean, f"{mean:.1f} [{low:.1f}, {high:.1f}]", best)
    rate = [f"{100 * value:.0f}" for value in rank.win_rate]
    return place, TableCell(rate[0], rank.win_rate.estimate, f"[{rate[1]}, {rate[2]}]")


def budget_of(section: Section, method: str) -> str:
    """Return the budget class by which the page may hide a method; none of trivial baselines, which always stay."""
    return "" if method in section.trivial else cost_of(section.of_method(method)).budget


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
        rows.append((TableCell(task, task, budget=budget_of(section, method)), _text(method), *cells))
    return Table(("task", "method", *(f"less {name}" for name in names)), tuple(rows))


def runs_table(results: Sequence[Result], recomputed: Collection[Path]) -> Table:
    """Return every run with what it took: options, seeds, parameters, seconds of a fit, hardware, commit, time.

    ``recomputed`` has the paths of results whose predictions were scored again.
    """
    ordered = sorted(results, key=lambda r: (not r.official, r.task, r.folds, r.method, r.path))
    rows = [_run(result, result.path in recomputed) for result in ordered]
    return Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _run(result: Result, recomputed: bool) -> dict[str, TableCell]:
    found, n, distinct = main_metric(result), len(result.runs), result.n_distinct
    seeds = f"{n}" if distinct == n else f"{n}, all equal" if distinct == 1 else f"{n}, {distinct} differ"
    options = ", ".join(f"{name}={value}" for name, value in result.options.items()) or NONE
    others = [f"{name} {value['mean']:.4g}" for name, value in result.summary.items() if name in ("mae", "kendall_tau")]
    task, cost = result.task + (f" ({result.folds} folds)" if result.folds else ""), cost_of([result])
    commit = NONE if result.commit is None else result.commit["id"][:10] + (" + changes" if result.commit["dirty"] else "")
    return {
        "task": TableCell(task, task, budget=cost.budget),
        "method": _text(result.method),
        "options": _text(options),
        "unit": _text(unit_of(result.kind)),
        "seeds": TableCell(seeds, n),
        "score": TableCell(spread_text(found["mean"], found["std"], result.kind), found["mean"]),
        "interval": TableCell(interval_text(found["low"], found["high"], result.kind), found["low"]),
        "other metrics": _text(", ".join(others).replace("_", " ") or NONE),
        "parameters": _parameters(cost),
        "fit s": _seconds(cost.fit_s),
        "predict s": _seconds(sum(run.predict_s for run in result.runs) / n / (result.folds or 1)),
        "hardware": _text(cost.hardware[0]),
        "commit": _text(commit),
        "finished": _text(result.finished_at),
        "computed from": _text("predictions" if recomputed else "counts"),
    }


def _parameters(cost: Cost) -> TableCell:
    n = cost.n_parameters
    return TableCell(NONE if n is None else f"{n:,}", n)


def _seconds(value: float) -> TableCell:
    return TableCell(f"{value:,.{0 if value >= 10 else 1 if value >= 1 else 2}f}", value)
