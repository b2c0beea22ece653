"""Sizes of Parquet files, from the headers that the library will follow and no others."""

from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nws_data.format.parquet_sizes import parquet_sizes
from nws_data.format.untrusted import read_parquet

I32, I64, DOUBLE, BINARY, LIST, STRUCT = 5, 6, 7, 8, 9, 12
_BOMB = 500_000_000


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def encode(kind: int, value: Any) -> bytes:
    """Write a value in Thrift's compact protocol; a structure is a list of (number, kind, value), bytes stay as is."""
    if isinstance(value, bytes):
        return value
    if kind == STRUCT:
        return b"".join(bytes([k]) + varint(2 * number) + encode(k, v) for number, k, v in value) + b"\0"
    if kind == LIST:
        return bytes([0xF0 | value[0]]) + varint(len(value[1])) + b"".join(encode(value[0], item) for item in value[1])
    return varint(2 * value)


def page(n_bytes: int, packed: int = 0) -> bytes:
    """A data page's header: one value that unpacks to so many bytes."""
    about = [(1, I32, 1), (2, I32, 0), (3, I32, 3), (4, I32, 3)]
    return encode(STRUCT, [(1, I32, 0), (2, I32, n_bytes), (3, I32, packed), (5, STRUCT, about)])


def file(
    pages: bytes, chunk: list[Any], n_chunks: int = 1, footer: tuple[Any, ...] = (), kind: int = 1, n_rows: int = 1
) -> bytes:
    """A whole file of int32 columns; ``chunk`` is the rest of each one's metadata."""
    leaf = [(1, I32, kind), (4, BINARY, b"\1x")]
    columns = [[(3, STRUCT, [(1, I32, 1), (3, LIST, (BINARY, [b"\1x"])), *chunk])]] * n_chunks
    schema = [[(4, BINARY, b"\1r"), (5, I32, n_chunks)], *[leaf] * n_chunks]
    groups = [[(1, LIST, (STRUCT, columns)), (3, I64, n_rows)]]
    content = encode(STRUCT, [(2, LIST, (STRUCT, schema)), (3, I64, 1), (4, LIST, (STRUCT, groups)), *footer])
    return b"PAR1" + pages + content + len(content).to_bytes(4, "little") + b"PAR1"


def at(n_bytes: int, data: int = 4, *more: Any) -> list[Any]:
    """Where a chunk's pages lie."""
    return [(7, I64, n_bytes), (9, I64, data), *more]


SMALL, LARGE = page(10), page(_BOMB)
BOTH = SMALL + LARGE


@pytest.mark.parametrize(
    ("raw", "n_bytes"),
    [
        (file(SMALL, at(len(SMALL))), 10),
        (file(BOTH, at(len(BOTH))), 10 + _BOMB),
        # The library starts at a dictionary before the data only, and never where the offset is no 64-bit number.
        (file(LARGE + SMALL, at(len(LARGE), 4, (11, I64, 4 + len(LARGE)))), _BOMB),
        (file(LARGE + SMALL, at(len(LARGE), 4, (11, I32, 4 + len(LARGE)))), _BOMB),
        (file(SMALL + LARGE, at(len(LARGE), 4 + len(SMALL), (11, I32, 4))), _BOMB),
        (file(SMALL, at(len(SMALL)), n_chunks=3), 30),  # pages that are shared count each time
    ],
)
def test_sizes_are_those_of_the_pages_that_the_library_reads(raw: bytes, n_bytes: int) -> None:
    assert parquet_sizes(raw).n_bytes == n_bytes


DEEP = bytes([0x10 | LIST]) * 100_000
DAMAGED = {
    "a list longer than the file": file(SMALL, at(len(SMALL)), footer=((9, LIST, bytes([0xF0 | DOUBLE]) + varint(2**62)),)),
    "lists in lists": file(SMALL, at(len(SMALL)), footer=((9, LIST, DEEP),)),
    "a list in a page's header": file(SMALL[:-1] + encode(STRUCT, [(9, LIST, (STRUCT, [[]] * 3))]), at(len(SMALL) + 6)),
    "a list of another kind": file(SMALL, at(len(SMALL), 4, (2, LIST, (BINARY, [b"\1x"])))),
    "a repeated field": file(BOTH, at(len(BOTH), 4, *at(len(SMALL)))),
    "a number that the library cuts to 16 bits": file(BOTH, at(len(SMALL), 4, (65_536 + 7, I64, len(BOTH)))),
    "a size that the library cuts to 32 bits": file(page(10, 2**32) + LARGE, at(len(page(10, 2**32) + LARGE))),
    "many chunks of the same pages": file(SMALL * 1_000, at(1_000 * len(SMALL)), n_chunks=200),
    "rows of a group, for which the library makes room": file(SMALL, at(len(SMALL)), n_rows=10**9),
    "values of fixed length, which a dictionary repeats": file(SMALL, at(len(SMALL)), kind=7),
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_headers_that_the_library_might_read_otherwise_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"Parquet file|no table"):
        parquet_sizes(raw)


@pytest.mark.slow
def test_texts_are_told_by_the_schema_and_not_by_their_chunks() -> None:
    # Said to be numbers, a text of 900 KB that a dictionary repeats would be copied into every row.
    stream = BytesIO()
    pq.write_table(pa.table({"n": [1] * 500, "t": ["t" * 900_000] * 500}), stream, dictionary_pagesize_limit=10**7)
    raw = stream.getvalue()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    chunk = raw.index(bytes([0x15, 12, 0x19]), footer)  # type 6, then the list of encodings
    lying = raw[: chunk + 1] + bytes([2]) + raw[chunk + 2 :]
    assert parquet_sizes(raw).texts == parquet_sizes(lying).texts == (1,)
    with pytest.raises(ValueError, match="at most 1,000"):
        read_parquet(lying, range(501))
