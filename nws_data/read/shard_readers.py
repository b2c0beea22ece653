"""Single weight vectors by their position, from a local folder or from anything that fsspec reaches."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import FormatError, SelectionError
from nws_data.format.partial import missing_shard
from nws_data.format.shards import Position, check_shard_path, read_header_of
from nws_data.read.store import VALUE_BYTES, map_values

_OTHER_BUILD = "metadata and shards are of different builds; load the dataset again, or fetch both again"


class ShardReader:
    """Reads vectors out of the shards of one dataset: the header once a shard, then the bytes of each vector.

    Args:
        root: the dataset's folder, or an address such as ``hf://datasets/owner/nws``.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: Any = None
        if "://" in root:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            self._files, self._root = url_to_fs(root)
        self._shards: dict[tuple[Any, ...], tuple[dict[str, Position], Any]] = {}

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return the vector at a position, a value of the column ``weights`` of FORMAT.md.

        float32 ``(n_weights,)``, writable. Raises ``FormatError`` or ``SelectionError``.
        """
        check_shard_path(place["shard"])
        return self._read_mapped(place) if self._files is None else self._read_range(place)

    def _read_mapped(self, place: Mapping[str, Any]) -> np.ndarray:
        """Copy a vector out of the mapped file, which is mapped again where another one took its place."""
        shard = place["shard"]
        path = posixpath.join(self._root, shard)
        try:
            found = os.stat(path)
        except OSError as error:  # a link in a circle, too
            raise FormatError(missing_shard(Path(self._root), shard)) from error
        known = shard, *_state(found)
        if known not in self._shards:
            if not stat.S_ISREG(found.st_mode):
                raise FormatError(missing_shard(Path(self._root), shard))
            with open(path, "rb") as file:
                positions, values = read_header_of(file, path).positions, map_values(Path(path))
            if _state(os.stat(path)) != _state(found):  # the map may be of the new file, the header of the old one
                raise FormatError(f"{path} was replaced while it was opened: {_OTHER_BUILD}")
            self._shards[known] = positions, values
        positions, data = self._shards[known]
        position = _position(positions, place)
        start = position.row_offset(place["row"]) // VALUE_BYTES
        return data[start : start + position.n_weights].copy()

    def _read_range(self, place: Mapping[str, Any]) -> np.ndarray:
        shard = place["shard"]
        path = posixpath.join(self._root, shard)
        try:  # without its option a read of kilobytes fetches megabytes ahead
            file = self._files.open(path, "rb", cache_type="none")
        except FileNotFoundError as error:
            raise FormatError(f"{path}: the shard is missing; check the root {self._root!r}") from error
        with file:
            known = shard, file.seek(0, os.SEEK_END)  # a file that was replaced is mostly of another size
            if known not in self._shards:
                self._shards[known] = read_header_of(file, path).positions, None
            position = _position(self._shards[known][0], place)
            file.seek(position.row_offset(place["row"]))
            raw = file.read(position.row_nbytes)
        if len(raw) != position.row_nbytes:
            raise FormatError(f"{shard}: got {len(raw)} of {position.row_nbytes} bytes; try again or fetch the file")
        return np.frombuffer(bytearray(raw), "<f4")


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


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
