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

from nws_data.arguments import check_text
from nws_data.errors import FormatError
from nws_data.format.parquet_sizes import parquet_sizes

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILE_NBYTES = 16_000_000
"""Of manifest.json, SHA256SUMS, README.md, marks and shard headers: a full dataset's largest has 0.2 MB."""

MAX_TABLE_NBYTES = 400_000_000
"""Of a Parquet file: a full dataset's largest has some 20 MB."""

_MAX_DIGITS = 20
# What a Parquet file may unpack to: a small table is mostly schema, a large one compresses tenfold.
_UNPACKED_NBYTES, _UNPACKED_RATIO = 64_000_000, 20
_N_VALUES, _VALUES_PER_BYTE = 1_000_000, 16


def read_file(path: Path, limit: int = MAX_FILE_NBYTES) -> bytes:
    """Return a file's bytes; raises ``FormatError`` when it is no regular file or larger than ``limit``, or ``OSError``."""
    # Without O_NONBLOCK, opening a FIFO waits for somebody to write into it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FormatError(f"{path}: not a regular file; remove it and fetch it again")
        if os.fstat(descriptor).st_size > limit:
            raise FormatError(f"{path}: larger than the {limit:,} bytes that it may have; do not use it")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(descriptor)


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


def read_parquet(raw: bytes, n_rows: range, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in a Parquet file's bytes, texts as dictionaries, with neither invalid values nor long texts.

    Sizes are compared before anything is unpacked: some bytes can stand for billions of equal values. ``n_rows`` is how many
    rows it may have. Raises ``ValueError`` where it is not Parquet, damaged, of another number of rows, or larger than such
    a file can be; also ``OSError``, ``OverflowError`` and ``pyarrow.ArrowException`` of the library.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = parquet_sizes(raw)
    if sizes.n_rows not in n_rows:
        expected = f"{n_rows[0]:,}" if len(n_rows) == 1 else f"at most {n_rows[-1]:,}"
        raise ValueError(f"{sizes.n_rows:,} rows, expected {expected}")
    most_bytes, most_values = _UNPACKED_NBYTES + _UNPACKED_RATIO * len(raw), _N_VALUES + _VALUES_PER_BYTE * len(raw)
    if sizes.n_bytes > most_bytes or sizes.n_values > most_values:
        raise ValueError(f"{len(raw):,} bytes that stand for {sizes.n_bytes:,} bytes and {sizes.n_values:,} values")
    # Texts as dictionaries, since a long one that is repeated would be copied into every row.
    source, options = pa.BufferReader(raw), {"read_dictionary": list(sizes.texts), "page_checksum_verification": True}
    with pq.ParquetFile(source, **options) as file:
        groups = range(file.num_row_groups)  # one by one: texts inside others are not read across groups
        names = None if columns is None else list(columns)
        table = pa.concat_tables(file.read_row_group(i, columns=names, use_threads=False) for i in groups)
    table.validate(full=True)
    if len(table) != sizes.n_rows:
        raise ValueError(f"{len(table):,} rows, its footer says {sizes.n_rows:,}")
    n_bytes = sum(_check_texts(name, chunk) for name in table.column_names for chunk in table[name].chunks)
    if n_bytes > most_bytes:
        raise ValueError(f"{len(raw):,} bytes that stand for {n_bytes:,} bytes of text")
    return table


def _check_texts(name: str, array: pa.Array) -> int:
    """Return the most bytes that the texts of a column take where each row has a copy."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        texts = array.dictionary.to_pylist()
        for text in texts:
            check_text(text, name)
        return len(array) * max((len(text.encode()) for text in texts), default=0)
    if pa.types.is_struct(array.type):
        parts = zip(array.type, array.flatten(), strict=True)
        return sum(_check_texts(f"{name}.{field.name}", values) for field, values in parts)
    return _check_texts(name, array.flatten()) if pa.types.is_list(array.type) else 0
