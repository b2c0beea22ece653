"""Shards: the safetensors files that hold the weights (FORMAT.md, "Shards"), streamed out and checked on opening.

The safetensors library neither streams nor tells where a tensor's bytes lie, so headers are written and read here; its own
``save`` is the oracle of the tests. Source: the "Format" section of the safetensors README.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nws_data.atomic import atomic_file
from nws_data.errors import FormatError
from nws_data.format.untrusted import MAX_FILE_NBYTES, parse_json
from nws_data.format.versions import reader_of, version_for
from nws_data.space.trajectory import N_SNAPSHOTS, SNAPSHOTS, check_snapshots

MAX_PLAN_INDEX = 999_999
"""Keys have six digits, so that their order is that of the plan indices."""

SHARD_SIZES = (64_000_000, 64_000_000, 128_000_000, 256_000_000, 512_000_000)
"""Bytes of tensor data at which a split's shards are closed, in order; the last one repeats."""

MAX_N_WEIGHTS = 1_000_000
"""Far above the longest vector, 388,172 values: what a file may claim before anything is allocated for it."""

METADATA_KEY = "nws"
KEY_PATTERN = r"t[0-9]{6}"
SHARD_PATTERN = r"weights/(fixed|random)/(train|validation|test|none)-[0-9]{5,6}\.safetensors"
"""Regular expressions of keys and of shards' paths inside the dataset, which must match as a whole."""

_FLOAT32 = np.dtype("<f4")
_LENGTH_NBYTES = 8
_FIRST_READ_NBYTES = 65_536  # holds the header of any shard that the writer makes; a longer one takes a second read
_FETCH_AGAIN = "fetch the file again or rebuild it"


@dataclass(frozen=True)
class Position:
    """Where a training's tensor, float32 ``(snapshots, n_weights)``, lies in its shard."""

    offset: int  # absolute, in bytes
    nbytes: int
    n_weights: int

    def row_offset(self, row: int) -> int:
        """Return the absolute byte at which a snapshot's vector starts."""
        return self.offset + row * self.row_nbytes

    @property
    def row_nbytes(self) -> int:
        """Bytes of one snapshot's vector."""
        return self.n_weights * _FLOAT32.itemsize


@dataclass(frozen=True)
class ShardHeader:
    """A checked shard: its population, split and snapshots, and the position of every key, in plan order."""

    population: str
    split: str
    snapshots: tuple[int, ...]  # numbers of those that each tensor holds, one a row
    positions: dict[str, Position]
    file_nbytes: int
    header_nbytes: int


@dataclass(frozen=True)
class WrittenShard:
    """What the writer tells of a finished shard."""

    nbytes: int
    sha256: str
    positions: dict[str, Position]


def shard_key(plan_index: int) -> str:
    """Return the tensor's name of a training, such as ``t000123``; raises ``FormatError`` above 999,999."""
    if not 0 <= plan_index <= MAX_PLAN_INDEX:
        raise FormatError(f"plan index must be in [0, {MAX_PLAN_INDEX}], got {plan_index}")
    return f"t{plan_index:06d}"


def tensor_nbytes(n_weights: int, n_snapshots: int = N_SNAPSHOTS) -> int:
    """Return the bytes of a training's tensor, float32 ``(n_snapshots, n_weights)``."""
    return n_snapshots * n_weights * _FLOAT32.itemsize


def shard_path(population: str, split: str, number: int) -> str:
    """Return the path inside the dataset, such as ``weights/fixed/train-00000.safetensors``."""
    return f"weights/{population}/{split}-{number:05d}.safetensors"


def check_shard_path(path: str) -> None:
    """Raise ``FormatError`` unless the path inside the dataset is one that :func:`shard_path` gives; ask before opening."""
    if not isinstance(path, str) or not re.fullmatch(SHARD_PATTERN, path):
        raise FormatError(
            f"no shard has the path {path!r:.99}: expected weights/<fixed|random>/<train|validation|test|none>-NNNNN"
            ".safetensors; do not use this dataset"
        )


def divide_into_shards(nbytes: Sequence[int], n_existing: int, sizes: Sequence[int] = SHARD_SIZES) -> list[int]:
    """Return how many of the trainings, whose tensors have ``nbytes`` in plan order, go into each new shard.

    A shard is closed by the training that makes it reach its size; sizes go on behind the shards that the split has already.
    """
    counts: list[int] = []
    filled, is_open = 0, False
    for n in nbytes:
        if not is_open:
            counts.append(0)
            filled, is_open = 0, True
        counts[-1] += 1
        filled += n
        is_open = filled < sizes[min(n_existing + len(counts) - 1, len(sizes) - 1)]
    return counts


def encode_shard_header(
    population: str,
    split: str,
    n_weights: Mapping[str, int],
    snapshots: Sequence[int] = SNAPSHOTS,
    version: int | None = None,
) -> bytes:
    """Return the header of a shard with these keys (ascending), vector lengths and snapshots, in a format version.

    By default that is :func:`version_for`.
    """
    version = version_for([split], snapshots) if version is None else version
    values: dict[str, Any] = {"format_version": version, "population": population, "split": split}
    values |= {"snapshots": list(snapshots)} if version >= 2 else {}
    content: dict[str, Any] = {"__metadata__": {METADATA_KEY: json.dumps(values, sort_keys=True)}}
    for key, position in _positions(0, n_weights, len(snapshots)).items():
        offsets = [position.offset, position.offset + position.nbytes]
        content[key] = {"dtype": "F32", "shape": [len(snapshots), position.n_weights], "data_offsets": offsets}
    raw = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(_LENGTH_NBYTES, "little") + raw


def write_shard(
    path: Path,
    population: str,
    split: str,
    n_weights: Mapping[str, int],
    tensors: Iterable[np.ndarray],
    snapshots: Sequence[int] = SNAPSHOTS,
) -> WrittenShard:
    """Write a shard atomically, one training in memory at a time.

    ``n_weights`` are the vector lengths of the keys, ascending; ``tensors``, drawn one by one, float32 ``(snapshots,
    n_weights)`` of each. Raises ``FormatError`` for keys out of order or a tensor of another shape or dtype, ``BuildError``
    where the system cannot write.
    """
    _check_keys(n_weights, path)
    raw = encode_shard_header(population, split, n_weights, snapshots)
    digest = hashlib.sha256(raw)
    with atomic_file(path) as stream, ThreadPoolExecutor(1) as hasher:
        stream.write(raw)
        for (key, n), tensor in zip(n_weights.items(), tensors, strict=True):
            if tensor.shape != (len(snapshots), n) or tensor.dtype != np.float32:
                raise FormatError(f"{key}: expected float32 {(len(snapshots), n)}, got {tensor.dtype} {tensor.shape}")
            data = np.ascontiguousarray(tensor, dtype=_FLOAT32).data.cast("B")
            hashed = hasher.submit(digest.update, data)  # takes as long as writing
            stream.write(data)
            hashed.result()
    positions = _positions(len(raw), n_weights, len(snapshots))
    return WrittenShard(len(raw) + sum(p.nbytes for p in positions.values()), digest.hexdigest(), positions)


def read_header(path: Path) -> ShardHeader:
    """Open a shard's header and check everything that can be checked without its data, the file's size included.

    Raises ``FormatError``: missing, truncated, foreign, of an unknown version, or not laid out as FORMAT.md says.
    """
    try:
        if not path.is_file():
            raise FormatError(f"{path}: not there, or not a regular file; {_FETCH_AGAIN}")
        with open(path, "rb") as stream:
            return read_header_of(stream, str(path))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); {_FETCH_AGAIN}") from error


def read_header_of(stream: BinaryIO, name: str) -> ShardHeader:
    """Do what :func:`read_header` does with an opened file, remote or not; ``name`` stands in messages."""
    file_nbytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    raw = stream.read(_FIRST_READ_NBYTES)
    length = int.from_bytes(raw[:_LENGTH_NBYTES], "little")
    if len(raw) < _LENGTH_NBYTES or length > min(MAX_FILE_NBYTES, file_nbytes - _LENGTH_NBYTES):
        raise FormatError(f"{name}: not a complete safetensors file ({file_nbytes} bytes); {_FETCH_AGAIN}")
    if len(raw) < _LENGTH_NBYTES + length:
        raw += stream.read(_LENGTH_NBYTES + length - len(raw))
    return _parsed(raw[: _LENGTH_NBYTES + length], file_nbytes, name)


def _parsed(raw: bytes, file_nbytes: int, name: str) -> ShardHeader:
    """Check a header by writing it again: it must be the one that FORMAT.md gives for what it says."""
    try:
        content = parse_json(raw[_LENGTH_NBYTES:])
        metadata = content.pop("__metadata__", {})
        if list(metadata) != [METADATA_KEY]:
            raise FormatError(f"{name}: a safetensors file, but not an NWS shard (no metadata {METADATA_KEY!r}); remove it")
        values = parse_json(metadata[METADATA_KEY])
        version, population, split = values["format_version"], str(values["population"]), str(values["split"])
        snapshots = check_snapshots(values.get("snapshots", SNAPSHOTS))
        n_weights = {key: tensor["shape"][-1] for key, tensor in content.items()}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise FormatError(f"{name}: not a shard of NWS, its header does not parse; {_FETCH_AGAIN}") from error
    reader_of(version, name)
    _check_keys(n_weights, name)
    for key, n in n_weights.items():
        if type(n) is not int or not 1 <= n <= MAX_N_WEIGHTS:
            raise FormatError(f"{name}: {key} cannot hold {n!r:.40} values a snapshot; {_FETCH_AGAIN}")
    if encode_shard_header(population, split, n_weights, snapshots, version) != raw:
        raise FormatError(f"{name}: the header is not written as FORMAT.md says; {_FETCH_AGAIN}")
    positions = _positions(len(raw), n_weights, len(snapshots))
    end = len(raw) + sum(position.nbytes for position in positions.values())
    if end != file_nbytes:
        state = "truncated" if file_nbytes < end else "too long"
        raise FormatError(f"{name}: {state}: {file_nbytes} bytes, its header says {end}; {_FETCH_AGAIN}")
    return ShardHeader(population, split, snapshots, positions, file_nbytes, len(raw))


def _positions(start: int, n_weights: Mapping[str, int], n_snapshots: int) -> dict[str, Position]:
    """Return the position of each tensor where the first lies at byte ``start``."""
    positions = {}
    for key, n in n_weights.items():
        positions[key] = Position(start, tensor_nbytes(n, n_snapshots), n)
        start += positions[key].nbytes
    return positions


def _check_keys(keys: Iterable[str], name: object) -> None:
    if list(keys) != sorted(keys) or not all(re.fullmatch(KEY_PATTERN, key) for key in keys):
        raise FormatError(f"{name}: keys must ascend and look like t000123, got {list(keys)[:5]!r:.200}")
