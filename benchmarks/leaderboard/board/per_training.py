"""The results of each test training, of all methods on all tasks, as one Parquet table: board.parquet.

Result files hold counts, so a row is a training. The predictions of single snapshots and windows are in the prediction
files of ``nws bench run --predictions``; what was true follows from the dataset's table of trainings, by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from benchmarks.leaderboard.files.results import Result

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
"""Columns and their types; null where a column is of the other kind of task."""

_COUNTS = tuple(COLUMNS)[7:]


def table_bytes(results: Sequence[Result]) -> bytes:
    """Return the table as a Parquet file: a row a result, seed and training, in the order of the results' paths."""
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
