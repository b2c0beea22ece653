"""The gate for what strangers write: small files, JSON, texts and Parquet tables, bounded and checked before use.

A dataset may come from anybody, so its files may be made to fill memory, to hang a reader or to write on its terminal.
Every file of a dataset is read by a function of this module; what it means is checked by the module that reads it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nws_data.errors import FormatError
from nws_data.text import check_text

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILE_NBYTES = 16_000_000
"""Of manifest.json, SHA256SUMS, README.md, marks and shard headers: a full dataset's largest has 0.2 MB."""

MAX_TABLE_NBYTES = 1_000_000_000
"""Of a Parquet file: a full dataset's largest has 0.1 GB."""

_MAX_DIGITS = 20
# What a Parquet file may unpack to: a table of a few rows is mostly schema, a large one compresses tenfold.
_UNPACKED_NBYTES, _UNPACKED_RATIO = 64_000_000, 100
_N_VALUES, _VALUES_PER_BYTE = 1_000_000, 64


def read_file(path: Path, limit: int = MAX_FILE_NBYTES) -> bytes:
    """Return a file's bytes; raises ``FormatError`` when it is no regular file or larger than ``limit``, or ``OSError``."""
    # Without O_NONBLOCK, opening a FIFO waits for somebody to write into it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FormatError(f"{path}: not a regular file; remove it and fetch it again")
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise FormatError(f"{path}: larger than the {limit:,} bytes that it may have; do not use this dataset")
    return raw


def parse_json(raw: bytes | str) -> Any:
    """Return what a JSON text holds; raises ``ValueError`` when it does not parse, nests too deep, or has absurd numbers."""
    try:
        return json.loads(raw, parse_int=_int, parse_float=_float, parse_constant=_float)
    except RecursionError as error:
        raise ValueError("JSON nested too deep") from error


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > 2 * _MAX_DIGITS or not math.isfinite(float(digits)):
        raise ValueError(f"not a finite number: {digits[:_MAX_DIGITS]}")
    return float(digits)


def read_parquet(raw: bytes, columns: Sequence[str] | None = None, n_rows: int | None = None) -> pa.Table:
    """Return the table in a Parquet file's bytes, texts as dictionaries, with neither invalid values nor long texts.

    Sizes are compared before anything is unpacked: some bytes can stand for billions of equal values.

    Args:
        raw: the whole file.
        columns: names to read; all by default.
        n_rows: rows that it must have.

    Raises:
        ValueError: not Parquet, damaged, of another number of rows, or larger than such a file can be. Also
            ``OSError``, ``OverflowError`` and ``pyarrow.ArrowException`` of the library.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(pa.BufferReader(raw))
    if n_rows is not None and metadata.num_rows != n_rows:
        raise ValueError(f"{metadata.num_rows:,} rows, expected {n_rows:,}")
    leaves = [metadata.schema.column(i) for i in range(len(metadata.schema))]
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(len(leaves))]
    if sum(max(0, chunk.total_uncompressed_size) for chunk in chunks) > _UNPACKED_NBYTES + _UNPACKED_RATIO * len(raw):
        raise ValueError(f"{len(raw):,} bytes that unpack to more than such a table holds")
    if max((chunk.num_values for chunk in chunks), default=0) > _N_VALUES + _VALUES_PER_BYTE * len(raw):
        raise ValueError(f"{len(raw):,} bytes that stand for more values than such a table holds")
    # As dictionaries, since a long text that is repeated would be copied into every row.
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    with pq.ParquetFile(pa.BufferReader(raw), metadata=metadata, read_dictionary=texts) as file:
        table = file.read(columns=None if columns is None else list(columns), use_threads=False)
    table.validate(full=True)
    for name in table.column_names:
        _check_dictionaries(name, table[name].combine_chunks())
    return table


def _check_dictionaries(name: str, array: pa.Array) -> None:
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        for text in array.dictionary.to_pylist():
            check_text(text, name)
    elif pa.types.is_struct(array.type):
        for field, values in zip(array.type, array.flatten(), strict=True):
            _check_dictionaries(f"{name}.{field.name}", values)
    elif pa.types.is_list(array.type):
        _check_dictionaries(name, array.flatten())
