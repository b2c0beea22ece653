"""What a Parquet file unpacks to, from its footer and page headers, before any of it is unpacked.

Some bytes can stand for billions of equal values. The library tells what the footer claims, but what it allocates follows
from the page headers; and asking it for the column chunks of a damaged footer ends the process.

Source: the Parquet format, and Thrift's compact protocol, in which its headers are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_MAX_HEADERS_NBYTES = 1_000_000  # of the footer, and of all page headers: a full dataset's largest has 0.1 MB
_MAX_HEADER_NBYTES = 65_536  # of a page
_MAX_DEPTH, _PAGE_DEPTH = 16, 10
_MAX_NUMBER = 100  # of a field
_BYTE_ARRAY, _FIXED_LEN_BYTE_ARRAY = 6, 7
_TRUE, _FALSE, _BYTE, _I32, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 5, 6, 7, 8, 9, 12

# Number and kind of fields: the library passes over a field of another kind, and one of another number.
_SCHEMA, _N_ROWS, _ROW_GROUPS, _COLUMNS, _METADATA = (2, _LIST), (3, _I64), (4, _LIST), (1, _LIST), (3, _STRUCT)
_TYPE, _N_CHILDREN = (1, _I32), (5, _I32)
_COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = (7, _I64), (9, _I64), (11, _I64)
_UNPACKED, _PACKED, _N_VALUES = (2, _I32), (3, _I32), (1, _I32)
_PAGE_KINDS = ((5, _STRUCT), (7, _STRUCT), (8, _STRUCT))  # data, dictionary, data version 2

# Depth and number of a footer's lists, and what they hold: the library reads that, whatever kind the list claims.
_STRUCT_LISTS = ((0, 2), (0, 4), (0, 5), (0, 7), (2, 1), (2, 4), (5, 8), (5, 13))
_LISTS = dict.fromkeys(_STRUCT_LISTS, _STRUCT) | {(5, 2): _I32, (5, 3): _BINARY, (6, 2): _I64, (6, 3): _I64}


_Fields = dict[tuple[int, int], Any]


@dataclass(frozen=True)
class ParquetSizes:
    """What stands in a file."""

    n_rows: int  # as its footer says
    n_bytes: int  # of all pages, unpacked
    n_values: int  # of all pages
    texts: tuple[int, ...]  # numbers of the columns of texts


def parquet_sizes(raw: bytes) -> ParquetSizes:
    """Return the sizes of a whole file; raises ``ValueError`` when it is none or its headers are damaged."""
    length = int.from_bytes(raw[-8:-4], "little")
    if len(raw) < 12 or raw[:4] != _MAGIC or raw[-4:] != _MAGIC or length > min(len(raw) - 12, _MAX_HEADERS_NBYTES):
        raise ValueError("not a complete Parquet file")
    try:
        footer, _ = _struct(raw, len(raw) - 8 - length)
        leaves = [leaf[_TYPE] for leaf in footer[_SCHEMA][1:] if not leaf.get(_N_CHILDREN)]
        if _FIXED_LEN_BYTE_ARRAY in leaves:
            raise ValueError("a column of a type that no table has")
        groups = [group[_COLUMNS] for group in footer[_ROW_GROUPS]]
        n_rows = [group[_N_ROWS] for group in footer[_ROW_GROUPS]]
        if (
            any(len(columns) != len(leaves) for columns in groups)
            or min(n_rows, default=0) < 0
            or sum(n_rows) != footer[_N_ROWS]
        ):
            raise ValueError("damaged headers in a Parquet file")
        pages = _pages(raw, [chunk[_METADATA] for columns in groups for chunk in columns])
        n_values = sum(page[kind][_N_VALUES] for page in pages for kind in _PAGE_KINDS if kind in page)
        texts = tuple(i for i, kind in enumerate(leaves) if kind == _BYTE_ARRAY)
        return ParquetSizes(footer[_N_ROWS], sum(page[_UNPACKED] for page in pages), n_values, texts)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("damaged headers in a Parquet file") from error


def _pages(raw: bytes, chunks: Iterable[_Fields]) -> list[_Fields]:
    """Return the page headers of all column chunks, which may share pages: those are unpacked again for each."""
    pages, n_bytes = [], 0
    for chunk in chunks:
        at, dictionary = chunk[_DATA_PAGE], chunk.get(_DICTIONARY_PAGE, 0)
        at = dictionary if 0 < dictionary < at else at  # as the library does
        stop = at + chunk[_COMPRESSED]
        while at < stop:
            page, header_nbytes = _struct(raw[at : at + _MAX_HEADER_NBYTES], min(at, 0), _PAGE_DEPTH)
            if page[_PACKED] < 0 or page[_UNPACKED] < 0 or any(page[k][_N_VALUES] < 0 for k in _PAGE_KINDS if k in page):
                raise ValueError("negative sizes in a Parquet file")
            pages.append(page)
            at += header_nbytes + page[_PACKED]
            n_bytes += header_nbytes
            if n_bytes > _MAX_HEADERS_NBYTES or at > stop:
                raise ValueError("page headers in a Parquet file that are too many, or go beyond their column")
    return pages


def _struct(raw: bytes, at: int, depth: int = 0) -> tuple[_Fields, int]:
    """Return the fields by number and kind of the structure at a position, and the position behind it."""
    if at < 0 or depth > _MAX_DEPTH:
        raise ValueError("damaged headers in a Parquet file")
    fields: _Fields = {}
    number = 0
    while head := raw[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(raw, at)
        kind = head & 15
        if not 0 < number <= _MAX_NUMBER or (number, kind) in fields:  # the library would join repeated ones
            raise ValueError("damaged headers in a Parquet file")
        if kind == _LIST:
            fields[number, kind], at = _list(raw, at, depth, _LISTS.get((depth, number)))
        else:
            fields[number, kind], at = _value(raw, at, kind, depth) if kind > _FALSE else (kind == _TRUE, at)
    return fields, at + 1


def _list(raw: bytes, at: int, depth: int, expected: int | None) -> tuple[list[Any], int]:
    size, kind = raw[at] >> 4, raw[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(raw, at)
    if kind != expected:
        raise ValueError("damaged headers in a Parquet file")
    values = []
    for _ in range(size):
        value, at = _value(raw, at, kind, depth + 1)
        values.append(value)
    return values, at


def _value(raw: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == _STRUCT:
        return _struct(raw, at, depth + 1)
    if kind == _BINARY:
        size, at = _varint(raw, at)
        return raw[at : at + size], at + size
    if kind == _BYTE:
        return raw[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind > _DOUBLE or kind == 0:  # sets and maps among them: the format has none
        raise ValueError("damaged headers in a Parquet file")
    return _integer(raw, at)


def _integer(raw: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(raw, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (raw[at] & 127) << shift
        at += 1
        if raw[at - 1] < 128:
            return value, at
    raise ValueError("damaged headers in a Parquet file")
