"""What a Parquet file unpacks to, from its footer and page headers, before any of it is unpacked.

Some bytes can stand for billions of equal values. The library tells what the footer claims, but what it allocates follows
from the page headers; and asking it for the column chunks of a damaged footer ends the process.

Source: the Parquet format, and Thrift's compact protocol, in which its headers are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_MAX_FOOTER_NBYTES = 1_000_000  # a full dataset's largest has 0.1 MB
_MAX_DEPTH = 16
_BYTE_ARRAY = 6
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12

# Field numbers of the format's structures.
_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3
_TYPE, _PATH, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 1, 3, 7, 9, 11
_UNPACKED, _PACKED, _N_VALUES = 2, 3, 1
_PAGE_KINDS = (5, 7, 8)  # data, dictionary, data version 2


@dataclass(frozen=True)
class ParquetSizes:
    """What stands in a file."""

    n_rows: int  # as its footer says
    n_bytes: int  # of all pages, unpacked
    n_values: int  # of all pages
    texts: tuple[str, ...]  # paths of the columns of texts


def parquet_sizes(raw: bytes) -> ParquetSizes:
    """Return the sizes of a whole file; raises ``ValueError`` when it is none or its headers are damaged."""
    length = int.from_bytes(raw[-8:-4], "little")
    if len(raw) < 12 or raw[:4] != _MAGIC or raw[-4:] != _MAGIC or length > min(len(raw) - 12, _MAX_FOOTER_NBYTES):
        raise ValueError("not a complete Parquet file")
    try:
        footer, _ = _struct(raw, len(raw) - 8 - length)
        chunks = [chunk[_METADATA] for group in footer[_ROW_GROUPS] for chunk in group[_COLUMNS]]
        pages = [page for chunk in chunks for page in _pages(raw, chunk)]
        texts = {".".join(part.decode() for part in chunk[_PATH]) for chunk in chunks if chunk[_TYPE] == _BYTE_ARRAY}
        n_values = sum(page[kind][_N_VALUES] for page in pages for kind in _PAGE_KINDS if kind in page)
        return ParquetSizes(footer[3], sum(page[_UNPACKED] for page in pages), n_values, tuple(sorted(texts)))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("damaged headers in a Parquet file") from error


def _pages(raw: bytes, chunk: dict[int, Any]) -> list[dict[int, Any]]:
    """Return the page headers of a column chunk."""
    at = chunk.get(_DICTIONARY_PAGE) or chunk[_DATA_PAGE]
    stop, pages = at + chunk[_COMPRESSED], []
    while at < stop:
        page, at = _struct(raw, at)
        if page[_PACKED] < 0 or page[_UNPACKED] < 0 or any(page[k][_N_VALUES] < 0 for k in _PAGE_KINDS if k in page):
            raise ValueError("negative sizes in a Parquet file")
        pages.append(page)
        at += page[_PACKED]
    return pages


def _struct(raw: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields by number of the structure at a position, and the position behind it."""
    if at < 0 or depth > _MAX_DEPTH:
        raise ValueError("damaged headers in a Parquet file")
    fields: dict[int, Any] = {}
    number = 0
    while head := raw[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(raw, at)
        kind = head & 15
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(raw, at, kind, depth)
    return fields, at + 1


def _value(raw: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_LIST, _SET):
        size, kind = raw[at] >> 4, raw[at] & 15
        at += 1
        if size == 15:
            size, at = _varint(raw, at)
        values = []
        for _ in range(size):
            value, at = _value(raw, at, kind, depth + 1)
            values.append(value)
        return values, at
    if kind == _STRUCT:
        return _struct(raw, at, depth + 1)
    if kind == _BINARY:
        size, at = _varint(raw, at)
        return raw[at : at + size], at + size
    if kind in (_TRUE, _FALSE, _BYTE):
        return raw[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind > _DOUBLE or kind == 0:  # a map among them: the format has none
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
