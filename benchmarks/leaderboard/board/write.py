"""``nws bench board``: from a folder of checked result files to the board's files. Equal files give equal bytes.

The page needs nothing else: styles, script and charts are inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.leaderboard.board import words
from benchmarks.leaderboard.board.charts import draw_bars, draw_pareto, legend
from benchmarks.leaderboard.board.standings import BUDGETS, Section, arrange, population_of
from benchmarks.leaderboard.board.tables import differences_table, runs_table, scores_table
from benchmarks.leaderboard.files.against_data import check_against_data, recompute
from benchmarks.leaderboard.files.checks import CONTROL
from benchmarks.leaderboard.files.json_text import difference
from benchmarks.leaderboard.files.results import Result, ResultError
from benchmarks.templates import render
from nws_data.atomic import write_bytes

T = TypeVar("T")
MARKDOWN, HTML, TABLE = "board.md", "board.html", "board.parquet"

COLUMNS = {
    "task": "string",
    "folds": "int8",  # 0, or 5: tested in five folds
    "data_digest": "string",
    "method": "string",
    "options": "string",  # JSON
    "seed": "int32",
    "training": "string",  # id
    "n_items": "int32",  # vectors, snapshots or windows of the training that were predicted
    "n_right": "int32",  # classification: how many of them were right
    "sum_target": "float64",  # regression: sums over the items
    "sum_target2": "float64",  # of squared targets
    "sum_error2": "float64",  # of squared errors
    "sum_absolute": "float64",  # of absolute errors
}
"""Of board.parquet: columns and their types; null where a column is of the other kind of task."""

_COUNTS = tuple(COLUMNS)[7:]

_PLAIN = re.compile(r"(?:\w|[ ,%±()\[\]+=:\N{EN DASH}\N{MINUS SIGN}²-]|\.(?!\w*[^\W\d])|/(?!/))*")
"""Texts without markup, mentions and links: no point before a word with letters, no two slashes."""


def write_board(results: Path, out: Path, data: Path | None = None, predictions: Path | None = None) -> list[Result]:
    """Check all result files and write the board; returns what stands on it.

    Args:
        results: folder of result files, searched in depth.
        out: folder for board.md, board.html and board.parquet, the results of each training.
        data: the dataset, to derive what each task tests on again.
        predictions: folder of prediction files, to score them again on ``data``.

    Raises ``ResultError`` for files that are refused, each with its reason, results over different data, or predictions
    without data, and ``FormatError`` where ``data`` is no dataset; nothing is written then.
    """
    if predictions is not None and data is None:
        raise ResultError("--predictions are scored on the dataset they were made on: name its folder by --data")
    found = read_results(results)
    recomputed = set() if data is None else _check_all(found, results, data, predictions)
    standing = list(found.values())
    sections = arrange(standing)
    files = {name: board_text(name, sections, standing, recomputed).encode() for name in (MARKDOWN, HTML)}
    for name, content in (files | {TABLE: table_bytes(standing)}).items():
        write_bytes(out / name, content)
    return standing


def read_results(folder: Path) -> dict[Path, Result]:
    """Read every result file under a folder, hidden ones left out, sorted by path.

    Raises ``ResultError`` for no folder, no files, or files that are refused, each with its reason.
    """
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file())
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not paths:
        raise ResultError(f"{folder}: no result files (*.json); make some with nws bench run --out {folder}")
    first: dict[Path, Path] = {}  # by the place that a result should have: its file
    tests: dict[tuple[str, int, str], Result] = {}

    def read(path: Path) -> Result:
        result = Result.load(path)
        if result.path in first:
            raise ResultError(f"the same run as {first[result.path].relative_to(folder)}; remove one of the two")
        tested = tests.setdefault((result.task, result.folds, result.data_digest), result)
        if odd := difference(result.test, tested.test, "test", f"{first.get(tested.path, path).relative_to(folder)}"):
            raise ResultError(f"tested on something else than others on this task: {odd}")
        first[result.path] = path
        return result

    return _of_each(paths, folder, read)


def _of_each(paths: Iterable[Path], folder: Path, get: Callable[[Path], T]) -> dict[Path, T]:
    """Return what ``get`` gives for each file; raises one ``ResultError`` with the reasons of all that it refuses."""
    found, refused = {}, []
    for path in paths:
        try:
            found[path] = get(path)
        except ResultError as error:
            refused.append(f"  {path.relative_to(folder)}: {error}")
    if refused:
        n = len(refused)
        whole = ResultError(f"{folder}: {n} result file{'' if n == 1 else 's'} refused, no board written")
        for reason in refused:
            whole.add_note(reason)
        raise whole
    return found


def _check_all(found: Mapping[Path, Result], folder: Path, data: Path, predictions: Path | None) -> set[Path]:
    """Return the paths of those results that were computed again from predictions; raises ``ResultError``."""

    def again(path: Path) -> bool:
        check_against_data(found[path], data)
        return predictions is not None and recompute(found[path], data, predictions)

    return {found[path].path for path, scored in _of_each(found, folder, again).items() if scored}


def board_text(name: str, sections: Sequence[Section], results: Sequence[Result], recomputed: Collection[Path]) -> str:
    """Return the board as a file's text; ``recomputed`` has the paths of results whose predictions were scored again."""
    others = [section for section in sections if section.suite is None]
    by_population: dict[str, list[Result]] = {}
    for result in results:
        by_population.setdefault(population_of(result), []).append(result)
    values = {
        "words": words,
        "suites": [section for section in sections if section.suite is not None],
        "others": [(status, list(own)) for status, own in groupby(others, key=lambda s: (s.population, s.status))],
        "digests": {section.population: section.data_digest for section in sections},
        "families": list(dict.fromkeys(section.family for section in sections)),
        "budgets": list(BUDGETS),
        "runs": [(population, runs_table(own, recomputed)) for population, own in sorted(by_population.items())],
        "scores_table": partial(scores_table, recomputed=recomputed),
    }
    functions = (differences_table, legend, draw_bars, draw_pareto)
    values |= {function.__name__: function for function in functions}
    return render(Path(__file__).with_name(f"{name}.j2"), values, plain_markdown=plain_markdown).rstrip() + "\n"


def plain_markdown(text: str) -> str:
    """Keep a text from being taken for markup, a link or a mention, and from ending its cell or turning the writing round.

    What is not plain becomes code, in which nothing is read as markup; what would end the code becomes ``?``.
    """
    if _PLAIN.fullmatch(text):
        return re.sub(r"([_\[\]])", r"\\\1", text)
    shown = re.sub(r"[`|\\]", "?", CONTROL.sub(" ", text))
    return f"`{shown}`"


def table_bytes(results: Sequence[Result]) -> bytes:
    """Return a Parquet file: a row a result, seed and training, in the order of the results' paths.

    Result files hold counts, so a row is a training. The predictions of single snapshots and windows are in the prediction
    files of ``nws bench run --predictions``; what was true follows from the dataset's table of trainings, by id.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    parts = [pa.table(part, schema) for result in sorted(results, key=lambda r: r.path) for part in _parts(result)]
    stream = BytesIO()
    pq.write_table(pa.concat_tables(parts), stream, compression="zstd")
    return stream.getvalue()


def _parts(result: Result) -> Iterator[dict[str, Sequence[Any]]]:
    own = {name: getattr(result, name) for name in ("task", "folds", "data_digest", "method")}
    own["options"] = json.dumps(result.options, sort_keys=True, ensure_ascii=False)
    for run in result.runs:
        score = run.score
        n = len(score.trainings)
        same = {name: [value] * n for name, value in (own | {"seed": run.seed}).items()}
        counts = {name: getattr(score, name, [None] * n) for name in _COUNTS}
        yield same | {"training": score.trainings} | counts
