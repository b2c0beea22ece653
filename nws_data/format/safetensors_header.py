"""The header of a safetensors file, read and written without the data: what streaming and safe mapping need.

Source: the "Format" section of the safetensors README. The library's own ``save`` is the oracle of the tests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nws_data.errors import FormatError
from nws_data.format.untrusted import MAX_FILE_NBYTES, parse_json

FETCH_AGAIN = "fetch the file again or rebuild it"

_LENGTH_NBYTES = 8
_MAX_DIMENSIONS = 8
_FLOAT32 = "F32"
_FLOAT32_NBYTES = 4


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the file: its absolute position in bytes and its shape."""

    dtype: str  # safetensors' name, such as "F32"
    shape: tuple[int, ...]
    offset: int  # from the start of the file
    nbytes: int


@dataclass(frozen=True)
class Header:
    """A checked header: metadata strings, and tensors in file order without gaps up to the end of the file."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]
    raw: bytes  # the whole header with its length, as it stands in the file
    file_nbytes: int


def encode_header(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    """Return the header for float32 tensors in the given order, which must be that of their names.

    The bytes are those of ``safetensors.numpy.save``. ``metadata`` should have one key: the library keeps no order.
    """
    content: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape) * _FLOAT32_NBYTES
        content[name] = {"dtype": _FLOAT32, "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_NBYTES, "little") + text


def read_safetensors_header(path: Path) -> Header:
    """Read and check a file's header against the file's size, before anything is mapped.

    Raises:
        FormatError: not there, not safetensors, truncated, too long, or with gaps between tensors.
    """
    try:
        if not path.is_file():
            raise FormatError(f"{path}: not there, or not a regular file; {FETCH_AGAIN}")
        file_nbytes = path.stat().st_size
        with open(path, "rb") as stream:
            raw = stream.read(_LENGTH_NBYTES)
            length = int.from_bytes(raw, "little")
            if len(raw) == _LENGTH_NBYTES and length <= min(MAX_FILE_NBYTES, file_nbytes - _LENGTH_NBYTES):
                raw += stream.read(length)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); {FETCH_AGAIN}") from error
    return parse_safetensors_header(raw, file_nbytes, str(path))


def parse_safetensors_header(raw: bytes, file_nbytes: int, name: str) -> Header:
    """Check a header's bytes (the length's eight bytes included); ``name`` stands in messages.

    Raises ``FormatError`` as :func:`read_safetensors_header`.
    """
    length = int.from_bytes(raw[:_LENGTH_NBYTES], "little")
    if len(raw) < _LENGTH_NBYTES or length > MAX_FILE_NBYTES or len(raw) < _LENGTH_NBYTES + length:
        raise FormatError(f"{name}: not a complete safetensors file ({file_nbytes} bytes); {FETCH_AGAIN}")
    raw = raw[: _LENGTH_NBYTES + length]
    try:
        content = parse_json(raw[_LENGTH_NBYTES:])
        metadata = dict(content.pop("__metadata__", {}))
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("metadata must be texts")
        tensors = {key: _entry(value, len(raw)) for key, value in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise FormatError(f"{name}: not a safetensors file, its header does not parse; {FETCH_AGAIN}") from error
    _check_layout(tensors, len(raw), file_nbytes, name)
    return Header(metadata, tensors, raw, file_nbytes)


def _entry(value: dict[str, Any], data_start: int) -> TensorEntry:
    start, stop = value["data_offsets"]
    shape = tuple(value["shape"])
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in (start, stop, *shape)):
        raise ValueError("too many dimensions, or negative or fractional numbers in a safetensors header")
    return TensorEntry(value["dtype"], shape, data_start + start, stop - start)


def _check_layout(tensors: Mapping[str, TensorEntry], data_start: int, file_nbytes: int, name: str) -> None:
    end = data_start
    for key, tensor in tensors.items():
        if tensor.offset != end or tensor.nbytes < 0:
            raise FormatError(f"{name}: tensor {key!r:.40} starts at byte {tensor.offset}, expected {end}; {FETCH_AGAIN}")
        if tensor.dtype == _FLOAT32 and tensor.nbytes != math.prod(tensor.shape) * _FLOAT32_NBYTES:
            raise FormatError(
                f"{name}: tensor {key!r:.40} has {tensor.nbytes} bytes for shape {tensor.shape}; {FETCH_AGAIN}"
            )
        end += tensor.nbytes
    if end != file_nbytes:
        state = "truncated" if file_nbytes < end else "too long"
        raise FormatError(f"{name}: {state}: {file_nbytes} bytes, its header says {end}; {FETCH_AGAIN}")
