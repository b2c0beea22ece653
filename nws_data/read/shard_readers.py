"""Single weight vectors by their position, from a local folder or from anything that fsspec reaches."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nws_data.errors import FormatError, SelectionError
from nws_data.format.partial import missing_shard
from nws_data.format.shards import Position, check_shard_path, read_header, read_header_of
from nws_data.read.store import VALUE_BYTES, Shard, WeightStore

_OTHER_BUILD = "metadata and shards are of different builds; load the dataset again, or fetch both again"


class ShardReader(Protocol):
    """Reads vectors out of the shards of one dataset."""

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return the vector at a position, a value of the column ``weights`` of FORMAT.md.

        float32 ``(n_weights,)``, writable. Raises ``FormatError`` or ``SelectionError``.
        """


def shard_reader(root: str) -> ShardReader:
    """Return the reader for a dataset's root: a folder, or an address such as ``hf://datasets/owner/nws``."""
    return RemoteShards(root) if "://" in root else LocalShards(root)


def _position(positions: dict[str, Position], place: Mapping[str, Any]) -> Position:
    """Return where the tensor of a row lies; raises ``FormatError`` where the row's own offset and size are others."""
    shard, key, row = place["shard"], place["key"], place["row"]
    if key not in positions:
        raise FormatError(f"{shard} holds no {key}: {_OTHER_BUILD}")
    position = positions[key]
    n_rows = position.nbytes // position.row_nbytes
    if not 0 <= row < n_rows:
        raise SelectionError(f"{shard}, {key}: row must be in [0, {n_rows - 1}], got {row}")
    if (place["offset"], place["nbytes"]) != (position.row_offset(row), position.row_nbytes):
        raise FormatError(f"{shard} has {key}, row {row} in another place than the metadata say: {_OTHER_BUILD}")
    return position


class LocalShards:
    """Vectors from mapped files in a folder; a file that was replaced is mapped again."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._known: dict[str, tuple[tuple[int, ...], np.ndarray, dict[str, Position]]] = {}

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return a vector, float32 ``(n_weights,)``. Raises ``FormatError`` or ``SelectionError``."""
        shard = place["shard"]
        check_shard_path(shard)
        path = self._root / shard
        try:
            found = path.stat()
        except OSError as error:  # a link in a circle, too
            raise FormatError(missing_shard(self._root, shard)) from error
        state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        if shard not in self._known or self._known[shard][0] != state:
            positions = read_header(path).positions
            store = WeightStore(self._root, [Shard(shard, {k: p.offset for k, p in positions.items()})])
            self._known[shard] = state, store.values(0), positions
        _, values, positions = self._known[shard]
        position = _position(positions, place)
        start = position.row_offset(place["row"]) // VALUE_BYTES
        return values[start : start + position.n_weights].copy()


class RemoteShards:
    """Vectors by range reads: one of the header per shard, then one of the bytes of each vector."""

    def __init__(self, root: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        self._files, self._path = url_to_fs(root)
        self._headers: dict[tuple[str, int], dict[str, Position]] = {}

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return a vector, float32 ``(n_weights,)``. Raises ``FormatError`` or ``SelectionError``."""
        shard = place["shard"]
        check_shard_path(shard)
        with self._open(shard) as file:
            known = shard, file.seek(0, 2)  # a file that was replaced is mostly of another size
            if known not in self._headers:
                self._headers[known] = read_header_of(file, posixpath.join(self._path, shard)).positions
            position = _position(self._headers[known], place)
            file.seek(position.row_offset(place["row"]))
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
