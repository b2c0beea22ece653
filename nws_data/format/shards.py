"""Shards: the safetensors files that hold the weights (FORMAT.md, "Shards"), streamed out and checked on opening."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nws_data.atomic import atomic_file
from nws_data.errors import FormatError
from nws_data.format.safetensors_header import (
    FETCH_AGAIN,
    Header,
    encode_header,
    parse_safetensors_header,
    read_safetensors_header,
)
from nws_data.format.untrusted import parse_json
from nws_data.format.versions import FORMAT_VERSION, reader_of
from nws_data.space.trajectory import N_SNAPSHOTS

MAX_PLAN_INDEX = 999_999
"""Keys have six digits in version 1, so that their order is that of the plan indices."""

SHARD_SIZES = (64_000_000, 64_000_000, 128_000_000, 256_000_000, 512_000_000)
"""Bytes of tensor data at which a split's shards are closed, in order; the last one repeats."""

MAX_N_WEIGHTS = 1_000_000
"""Far above the longest vector, 388,172 values: what a file may claim before anything is allocated for it."""

METADATA_KEY = "nws"
KEY_PATTERN = r"t[0-9]{6}"
SHARD_PATTERN = r"weights/(fixed|random)/(train|validation|test)-[0-9]{5,6}\.safetensors"
"""Regular expressions of keys and of shards' paths inside the dataset, which must match as a whole."""

_FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True)
class Position:
    """Where a training's tensor, float32 ``(20, n_weights)``, lies in its shard."""

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
    """A checked shard: its population and split, and the position of every key, in plan order."""

    population: str
    split: str
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
        raise FormatError(f"plan index must be in [0, {MAX_PLAN_INDEX}] in format version 1, got {plan_index}")
    return f"t{plan_index:06d}"


def tensor_nbytes(n_weights: int) -> int:
    """Return the bytes of a training's tensor, float32 ``(20, n_weights)``."""
    return N_SNAPSHOTS * n_weights * _FLOAT32.itemsize


def shard_path(population: str, split: str, number: int) -> str:
    """Return the path inside the dataset, such as ``weights/fixed/train-00000.safetensors``."""
    return f"weights/{population}/{split}-{number:05d}.safetensors"


def check_shard_path(path: str) -> None:
    """Raise ``FormatError`` unless the path inside the dataset is one that :func:`shard_path` gives; ask before opening."""
    if not isinstance(path, str) or not re.fullmatch(SHARD_PATTERN, path):
        raise FormatError(
            f"no shard has the path {path!r:.99}: expected weights/<fixed|random>/<train|validation|test>-NNNNN.safetensors;"
            " do not use this dataset"
        )


def divide_into_shards(nbytes: Sequence[int], n_existing: int, sizes: Sequence[int] = SHARD_SIZES) -> list[int]:
    """Return how many of the trainings, in order, go into each new shard.

    Args:
        nbytes: bytes of each training's tensor, in plan order.
        n_existing: shards that the split has already; the ramp of sizes goes on from there.
        sizes: a shard is closed by the training that makes it reach its size; the last size repeats.
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


def encode_shard_header(population: str, split: str, n_weights: Mapping[str, int], version: int = FORMAT_VERSION) -> bytes:
    """Return the header of a shard with these keys (ascending) and vector lengths, in a format version."""
    text = json.dumps({"format_version": version, "population": population, "split": split}, sort_keys=True)
    return encode_header({key: (N_SNAPSHOTS, n) for key, n in n_weights.items()}, {METADATA_KEY: text})


def write_shard(
    path: Path, population: str, split: str, n_weights: Mapping[str, int], tensors: Iterable[np.ndarray]
) -> WrittenShard:
    """Write a shard atomically, one training in memory at a time.

    Args:
        path: the file; replaced only when complete.
        population: recorded in the header.
        split: likewise.
        n_weights: vector length of every key, keys ascending.
        tensors: float32 ``(20, n_weights)`` of every key, in the same order; drawn one by one.

    Raises:
        FormatError: keys out of order, or a tensor of another shape or dtype.
        BuildError: the system cannot write.
    """
    if list(n_weights) != sorted(n_weights) or not all(re.fullmatch(KEY_PATTERN, key) for key in n_weights):
        raise FormatError(f"{path}: keys must ascend and look like t000123, got {list(n_weights)[:5]} ...")
    raw = encode_shard_header(population, split, n_weights)
    digest = hashlib.sha256(raw)
    with atomic_file(path) as stream:
        stream.write(raw)
        for (key, n), tensor in zip(n_weights.items(), tensors, strict=True):
            if tensor.shape != (N_SNAPSHOTS, n) or tensor.dtype != np.float32:
                raise FormatError(f"{key}: expected float32 {(N_SNAPSHOTS, n)}, got {tensor.dtype} {tensor.shape}")
            data = np.ascontiguousarray(tensor, dtype=_FLOAT32).data.cast("B")
            digest.update(data)
            stream.write(data)
    positions = _planned_positions(len(raw), n_weights)
    return WrittenShard(len(raw) + sum(p.nbytes for p in positions.values()), digest.hexdigest(), positions)


def read_header(path: Path) -> ShardHeader:
    """Open a shard's header and check everything that can be checked without its data, the file's size included.

    Raises:
        FormatError: missing, truncated, foreign, of an unknown version, or not laid out as FORMAT.md says.
    """
    return _checked(read_safetensors_header(path), str(path))


def parse_header(raw: bytes, file_nbytes: int, name: str) -> ShardHeader:
    """Do what :func:`read_header` does from bytes that hold at least the whole header, such as a remote range read."""
    return _checked(parse_safetensors_header(raw, file_nbytes, name), name)


def _planned_positions(header_nbytes: int, n_weights: Mapping[str, int]) -> dict[str, Position]:
    positions, offset = {}, header_nbytes
    for key, n in n_weights.items():
        positions[key] = Position(offset, tensor_nbytes(n), n)
        offset += positions[key].nbytes
    return positions


def _checked(header: Header, name: str) -> ShardHeader:
    version, population, split = _identity(header, name)
    n_weights: dict[str, int] = {}
    for key, tensor in header.tensors.items():
        if tensor.dtype != "F32" or len(tensor.shape) != 2 or tensor.shape[0] != N_SNAPSHOTS:
            found = f"{tensor.dtype!r:.20} {tensor.shape}"
            raise FormatError(f"{name}: tensor {key!r:.40} is {found}, expected F32 ({N_SNAPSHOTS}, n); {FETCH_AGAIN}")
        if tensor.shape[1] > MAX_N_WEIGHTS:
            raise FormatError(f"{name}: tensor {key!r:.40} holds {tensor.shape[1]:,} values a snapshot; {FETCH_AGAIN}")
        n_weights[key] = tensor.shape[1]
    if list(n_weights) != sorted(n_weights) or not all(re.fullmatch(KEY_PATTERN, key) for key in n_weights):
        raise FormatError(f"{name}: keys must ascend and look like t000123; this is not a shard that NWS wrote")
    if encode_shard_header(population, split, n_weights, version) != header.raw:
        raise FormatError(f"{name}: the header is not written as FORMAT.md says; {FETCH_AGAIN}")
    positions = _planned_positions(len(header.raw), n_weights)
    return ShardHeader(population, split, positions, header.file_nbytes, len(header.raw))


def _identity(header: Header, name: str) -> tuple[int, str, str]:
    """Return version, population and split from the metadata; raises ``FormatError`` when foreign or of another version."""
    if list(header.metadata) != [METADATA_KEY]:
        raise FormatError(f"{name}: a safetensors file, but not an NWS shard (no metadata {METADATA_KEY!r}); remove it")
    try:
        values = parse_json(header.metadata[METADATA_KEY])
        version, population, split = values["format_version"], values["population"], values["split"]
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{name}: its metadata {METADATA_KEY!r} does not parse; {FETCH_AGAIN}") from error
    reader_of(version, name)
    return version, str(population), str(split)
