"""``nws reference report``: the committed results, board, figures and pages, from a folder of the reference population.

A folder may hold one population alone, or pilots: what is committed of the others stays. Pages follow from committed files
alone (:func:`pages`), so that a test can say whether they are what those files give.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.findings.claims import merged_claims
from benchmarks.findings.make import CLAIMS
from benchmarks.findings.registry import FIGURES
from benchmarks.findings.results import in_order, is_trivial, labels_of, right_of
from benchmarks.findings.source import LOWER
from benchmarks.findings.tables import percent
from benchmarks.leaderboard.board.write import read_results, write_board
from benchmarks.leaderboard.files.results import Result, ResultError, main_metric
from benchmarks.leaderboard.submission.fields import ENTRIES
from benchmarks.reference.budgets import Budget
from benchmarks.reference.commands import DATA, PILOTS_FOLDER, PREDICTIONS, RESULTS, population_of
from benchmarks.reference.commands import FIGURES as FIGURES_FOLDER
from benchmarks.reference.record import measure_pilots, measure_record
from benchmarks.templates import render
from nws_data.atomic import write_bytes
from nws_data.format.manifest import Manifest
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.tasks.metrics import paired_difference
from nws_data.tasks.table import parse_task

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = "record.json"
_TABLES = {"learning_curve": ("trends",), "epochs": ("accuracies",)}
"""Tables that pages show, by the module of their figures."""

_BEGIN, _END = "<!-- results: written by nws reference report -->", "<!-- end of results -->"
_COMMITTED = ROOT / "benchmarks" / "results"
_PICTURES = ROOT / "docs" / "findings"


def write_report(name: str, budget: Budget, out: Path) -> list[Path]:
    """Replace what is committed by what ``out`` holds; returns the pages.

    Raises ``FormatError`` or ``ResultError`` for a damaged dataset or result file; nothing is replaced then.
    """
    pilots_alone = not (out / DATA).exists() and (out / PILOTS_FOLDER).exists()
    stored = {} if pilots_alone else Manifest.load(out / DATA).populations
    populations = [name for name in POPULATIONS if name in stored]
    found = {population: measure_record(name, budget, out, population) for population in populations}
    if populations:
        write_board(out / RESULTS, out / RESULTS, out / DATA, out / PREDICTIONS)
        replace_results(_COMMITTED, out / RESULTS, populations)
        replace_figures(_PICTURES, out / FIGURES_FOLDER, populations)
        write_board(_COMMITTED, _COMMITTED)  # what anybody can make of the committed files: predictions are not among them
    record = json.loads((HERE / RECORD).read_text(encoding="utf-8"))
    for population in POPULATIONS:
        pilots = merged_pilots(record[population]["pilots"], measure_pilots(budget, out, population))
        record[population] = found.get(population, record[population]) | {"pilots": pilots}
    write_bytes(HERE / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    written = pages()
    for path, text in written.items():
        write_bytes(path, text.encode())
    return list(written)


def merged_pilots(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return pilots by their sizes in ascending order, new ones instead of old ones of the same sizes."""
    by_sizes = {(pilot["n_train"], pilot["epoch_cap"]): pilot for pilot in (*old, *new)}
    return [by_sizes[sizes] for sizes in sorted(by_sizes)]


def replace_results(folder: Path, source: Path, populations: Sequence[str]) -> None:
    """Replace the result files on tasks of these populations by those of another folder; entries stay as they came."""
    for path, result in read_results(folder).items():
        if population_of(result.task) in populations and ENTRIES.name not in path.relative_to(folder).parts:
            path.unlink()
            with suppress(OSError):  # not empty yet
                path.parent.rmdir()
    for path in read_results(source):
        place = folder / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def replace_figures(folder: Path, source: Path, populations: Sequence[str]) -> None:
    """Replace the figures of these populations by those of another folder, and the claims that it can tell."""
    for name, entry in FIGURES.items():
        if entry.populations[0] in populations and _shown(source, name):  # else the old one stays
            for path in (folder / file for file in _shown(folder, name)):
                path.unlink(missing_ok=True)
            for file in _shown(source, name):
                shutil.copyfile(source / file, folder / file)
    texts = [(where / CLAIMS).read_text(encoding="utf-8") for where in (folder, source)]
    write_bytes(folder / CLAIMS, merged_claims(*texts).encode())


def _shown(folder: Path, name: str) -> list[str]:
    """Return the files of a figure that pages show."""
    path = folder / f"{name}.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    tables = [f"{name}-{key}.csv" for key in record.get("tables", ()) if key in _TABLES.get(FIGURES[name].module, ())]
    return [path.name, *(f"{name}-{key}.png" for key in record.get("pictures", ())), *tables]


def pages() -> dict[Path, str]:
    """Return the pages of the documentation that show the reference population, by path."""
    found = list(read_results(_COMMITTED).values())
    records = {name: _PICTURES / f"{name}.json" for name in FIGURES}
    shown = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in records.items() if path.exists()}
    record = json.loads((HERE / RECORD).read_text(encoding="utf-8"))
    values: dict[str, Any] = {
        "record": record,
        "results": found,
        "figures": [(name, FIGURES[name], record) for name, record in shown.items()],
        "claims": (_PICTURES / CLAIMS).read_text(encoding="utf-8"),
        "trends": _rows("learning_curve"),
        "epochs": _rows("epochs"),
        "percent": percent,
        "table": scores_table,
        "gain": gain_text,
    }
    names = ("results.md", "findings.md", "reference-run.md", "dmc-case.md", "window-methods.md")
    written = {ROOT / "docs" / name: render(HERE / f"{name}.j2", values) for name in names}
    before, begin, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    tables = render(HERE / "readme.md.j2", values)
    return written | {ROOT / "README.md": f"{before}{begin}\n{tables}\n{end}{after}"}


def _rows(module: str) -> list[dict[str, Any]]:
    """Return the rows of the table that pages show of a module's figures; none where they were not made."""
    names = [f"{name}-{key}.csv" for name, entry in FIGURES.items() if entry.module == module for key in _TABLES[module]]
    return [row for name in names if (_PICTURES / name).exists() for row in pd.read_csv(_PICTURES / name).to_dict("records")]


def scores_table(results: Sequence[Result], tasks: Sequence[str], methods: Sequence[str] = ()) -> str:
    """Return scores in five folds as a Markdown table: methods in rows, tasks in columns, with 95 % intervals.

    Classifications are those of the networks above ``LOWER``, in per cent. ``methods``: by their labels, by default all.
    """
    columns: dict[str, dict[str, Result]] = {}
    for task in tasks:
        name = task if parse_task(task).family.regression else f"{task}/threshold={LOWER}"
        if of_task := {label: r for label, r in _in_folds(results, name).items() if not methods or label in methods}:
            columns[task] = of_task
    rows = in_order([method for found in columns.values() for method in found])
    best = {
        task: max((main_metric(r)["mean"] for m, r in found.items() if not is_trivial(m)), default=None)
        for task, found in columns.items()
    }
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for method in rows:
        cells = [_cell(found.get(method), best[task]) for task, found in columns.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    chances = [next(iter(found.values())) for found in columns.values()]
    lines.append("| *chance* | " + " | ".join(_text(r, r.summary["chance"]) for r in chances) + " |")
    sizes = [len(r.runs[0].score.trainings) for r in chances]
    return "\n".join([*lines, "| *test trainings* | " + " | ".join(map(str, sizes)) + " |"])


def gain_text(results: Sequence[Result], task: str, method: str, other: str, first: int = 0) -> str:
    """Return a method's accuracy less another's on the same networks in five folds, in points with the 95 % interval.

    ``first``: on networks of this index or a later one alone. Raises ``ResultError`` for results on different networks.
    """
    name = f"{task}/threshold={LOWER}"
    found = _in_folds(results, name)
    if not {method, other} <= set(found):
        return ""
    (trainings, n, right), (same, _, others) = (right_of(found[key]) for key in (method, other))
    if trainings != same:
        raise ResultError(f"{name}: {method} and {other} were tested on different networks; run both again on these data")
    kept = np.array([int(training.partition("-")[2]) >= first for training in trainings])
    if not kept.any():
        return ""
    gain = paired_difference(n[kept], right[kept], others[kept])
    return f"{100 * gain.estimate:+.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}] of {kept.sum()}"


def _in_folds(results: Sequence[Result], task: str) -> dict[str, Result]:
    """Return the results of a task in five folds by the labels of their methods, without the number of epochs."""
    found = [result for result in results if result.folds and result.task == task]
    return dict(zip(labels_of(found, but="epochs"), found, strict=True))


def _cell(result: Result | None, best: float | None) -> str:
    if result is None:
        return ""
    found = main_metric(result)
    mean = f"**{_text(result, found['mean'])}**" if found["mean"] == best else _text(result, found["mean"])
    return f"{mean} [{_text(result, found['low'])}, {_text(result, found['high'])}]"


def _text(result: Result, value: float | None) -> str:
    """Return an accuracy in whole per cent, R² with two decimals."""
    if value is None:
        return ""
    return f"{100 * value:.0f}" if result.kind == "classification" else f"{value:.2f}"
