"""Single weight vectors by (shard, key, row), from a local folder or from anything that fsspec reaches."""

from __future__ import annotations

import posixpath
from typing import Any, Protocol

import numpy as np

from nws_data.errors import FormatError, SelectionError
from nws_data.reading.store import VALUE_BYTES, Shard, WeightStore
from nws_data.storage.partial import missing_shard
from nws_data.storage.shards import Position, parse_header, read_header

_FIRST_READ_NBYTES = 65_536  # holds the header of any shard that the writer makes; a longer one takes a second read
_LENGTH_NBYTES = 8


class ShardReader(Protocol):
    """Reads vectors out of the shards of one dataset."""

    def read(self, shard: str, key: str, row: int) -> np.ndarray:
        """Return a vector, float32 ``(n_weights,)``, writable. Raises ``FormatError`` or ``SelectionError``."""


def shard_reader(root: str) -> ShardReader:
    """Return the reader for a dataset's root: a folder, or an address such as ``hf://datasets/owner/nws``."""
    return RemoteShards(root) if "://" in root else LocalShards(root)


def _position(positions: dict[str, Position], shard: str, key: str, row: int) -> Position:
    if key not in positions:
        raise FormatError(f"{shard} holds no {key}: metadata and shards are of different builds; fetch both again")
    position = positions[key]
    n_rows = position.nbytes // position.row_nbytes
    if not 0 <= row < n_rows:
        raise SelectionError(f"{shard}, {key}: row must be in [0, {n_rows - 1}], got {row}")
    return position


class LocalShards:
    """Vectors from mapped files in a folder."""

    def __init__(self, root: str) -> None:
        self._store = WeightStore(root)
        self._known: dict[str, tuple[int, dict[str, Position]]] = {}

    def read(self, shard: str, key: str, row: int) -> np.ndarray:
        """Return a vector, float32 ``(n_weights,)``. Raises ``FormatError`` or ``SelectionError``."""
        if shard not in self._known:
            if not (self._store.root / shard).is_file():
                raise FormatError(missing_shard(self._store.root, shard))
            positions = read_header(self._store.root / shard).positions
            self._known[shard] = self._store.add(Shard(shard, {k: p.offset for k, p in positions.items()})), positions
        index, positions = self._known[shard]
        position = _position(positions, shard, key, row)
        start = np.array([position.row_offset(row) // VALUE_BYTES])
        return self._store.gather(np.array([index]), start, position.n_weights)[0].numpy()


class RemoteShards:
    """Vectors by range reads: one of the header per shard, then one of the bytes of each vector."""

    def __init__(self, root: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        self._files, self._path = url_to_fs(root)
        self._headers: dict[str, dict[str, Position]] = {}

    def read(self, shard: str, key: str, row: int) -> np.ndarray:
        """Return a vector, float32 ``(n_weights,)``. Raises ``FormatError`` or ``SelectionError``."""
        with self._open(shard) as file:
            if shard not in self._headers:
                self._headers[shard] = _read_positions(file, posixpath.join(self._path, shard))
            position = _position(self._headers[shard], shard, key, row)
            file.seek(position.row_offset(row))
            raw = file.read(position.row_nbytes)
        if len(raw) != position.row_nbytes:
            raise FormatError(f"{shard}: got {len(raw)} of {position.row_nbytes} bytes; try again or fetch the file")
        return np.frombuffer(bytearray(raw), "<f4")

    def _open(self, shard: str) -> Any:
        path = posixpath.join(self._path, shard)
        try:
            # Without this a read of kilobytes fetches megabytes ahead.
            return self._files.open(path, "rb", cache_type="none")
        except FileNotFoundError as error:
            raise FormatError(f"{path}: the shard is missing; check the root {self._path!r}") from error


def _read_positions(file: Any, name: str) -> dict[str, Position]:
    file_nbytes = file.seek(0, 2)
    file.seek(0)
    raw = file.read(min(_FIRST_READ_NBYTES, file_nbytes))
    missing = _LENGTH_NBYTES + int.from_bytes(raw[:_LENGTH_NBYTES], "little") - len(raw)
    if 0 < missing <= file_nbytes - len(raw):
        raw += file.read(missing)
    return parse_header(raw, file_nbytes, name).positions
