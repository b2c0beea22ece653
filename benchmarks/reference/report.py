"""``nws reference report``: the committed results, board, figures and pages, from a folder of the reference population.

Pages follow from committed files alone (:func:`pages`), so that a test can say whether they are what those files give.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.findings.make import CLAIMS
from benchmarks.findings.registry import FIGURES
from benchmarks.findings.results import in_order, is_trivial, right_of
from benchmarks.findings.source import LOWER
from benchmarks.findings.tables import percent
from benchmarks.leaderboard.board.write import read_results, write_board
from benchmarks.leaderboard.files.results import Result, ResultError, main_metric
from benchmarks.reference.budgets import Budget, budget_of
from benchmarks.reference.commands import DATA, PREDICTIONS, RESULTS
from benchmarks.reference.commands import FIGURES as FIGURES_FOLDER
from benchmarks.reference.record import measure_record
from benchmarks.templates import render
from nws_data.atomic import write_bytes
from nws_data.tasks.metrics import paired_difference
from nws_data.tasks.table import parse_task

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = "record.json"
TRENDS, EPOCHS = "learning-curve-trends.csv", "epochs-accuracies.csv"
"""Tables of figures that pages show."""
ENTRIES = "entries"
"""Folder below the committed results, of ``nws bench submit``."""

_BEGIN, _END = "<!-- results: written by nws reference report -->", "<!-- end of results -->"
_COMMITTED = ROOT / "benchmarks" / "results"
_PICTURES = ROOT / "docs" / "findings"


def write_report(name: str, budget: Budget, out: Path) -> list[Path]:
    """Replace what is committed by what ``out`` holds; returns the pages.

    Raises ``FormatError`` or ``ResultError`` for a damaged dataset or result file; nothing is replaced then.
    """
    record = measure_record(name, budget, out)
    write_board(out / RESULTS, out / RESULTS, out / DATA, out / PREDICTIONS)
    replace_files(_COMMITTED, out / RESULTS, (".json",))
    replace_files(_PICTURES, out / FIGURES_FOLDER, (".png", ".json", TRENDS, EPOCHS, CLAIMS))
    write_board(_COMMITTED, _COMMITTED)  # what anybody can make of the committed files: predictions are not among them
    write_bytes(HERE / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    written = pages()
    for path, text in written.items():
        write_bytes(path, text.encode())
    return list(written)


def replace_files(folder: Path, source: Path, endings: tuple[str, ...]) -> None:
    """Empty a folder, but for the entries that others have handed in, and copy the files of another with these endings."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name != ENTRIES:
            shutil.rmtree(path)
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if path.is_file() and path.name.endswith(endings) and not any(part.startswith(".") for part in place.parts):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / place)


def pages() -> dict[Path, str]:
    """Return the pages of the documentation that show the reference population, by path."""
    found = list(read_results(_COMMITTED).values())
    records = {name: _PICTURES / f"{name}.json" for name in FIGURES}
    shown = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in records.items() if path.exists()}
    record = json.loads((HERE / RECORD).read_text(encoding="utf-8"))
    values: dict[str, Any] = {
        "record": record,
        "budget": budget_of(record["budget"]),
        "counts": {name: population["trainings"] for name, population in record["populations"].items()},
        "results": found,
        "figures": [(name, FIGURES[name], record) for name, record in shown.items()],
        "claims": (_PICTURES / CLAIMS).read_text(encoding="utf-8"),
        "trends": _rows(TRENDS),
        "epochs": _rows(EPOCHS),
        "percent": percent,
        "table": scores_table,
        "gain": gain_text,
        "digest": next((r.data_digest[:8] for r in found if parse_task(r.task).family.population == "random"), ""),
    }
    names = ("results.md", "findings.md", "reference-run.md", "dmc-case.md", "window-methods.md")
    written = {ROOT / "docs" / name: render(HERE / f"{name}.j2", values) for name in names}
    before, begin, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    tables = render(HERE / "readme.md.j2", values)
    return written | {ROOT / "README.md": f"{before}{begin}\n{tables}\n{end}{after}"}


def _rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a figure's table; none where it was not made."""
    path = _PICTURES / name
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def scores_table(results: Sequence[Result], tasks: Sequence[str], methods: Sequence[str] = (), folds: bool = True) -> str:
    """Return scores in five folds as a Markdown table: methods in rows, tasks in columns, with 95 % intervals.

    Classifications are those of the networks above ``LOWER``, in per cent. ``methods``: by default all.
    """
    columns: dict[str, dict[str, Result]] = {}
    for task in tasks:
        name = task if parse_task(task).family.regression else f"{task}/threshold={LOWER}"
        of_task = [r for r in results if r.task == name and r.folds and (not methods or r.method in methods)]
        if of_task:
            columns[task] = {r.method: r for r in of_task}
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
    found = {r.method: r for r in results if r.task == name and r.folds and r.method in (method, other)}
    if len(found) < 2:
        return ""
    (trainings, n, right), (same, _, others) = (right_of(found[key]) for key in (method, other))
    if trainings != same:
        raise ResultError(f"{name}: {method} and {other} were tested on different networks; run both again on these data")
    kept = np.array([int(training.partition("-")[2]) >= first for training in trainings])
    if not kept.any():
        return ""
    gain = paired_difference(n[kept], right[kept], others[kept])
    return f"{100 * gain.estimate:+.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}] of {kept.sum()}"


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
