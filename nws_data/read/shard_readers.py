"""Single weight vectors by their position, from a local folder or from anything that fsspec reaches."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import FormatError, SelectionError
from nws_data.format.partial import missing_shard
from nws_data.format.shards import Position, check_shard_path, read_header_of
from nws_data.space.trajectory import N_SNAPSHOTS

_OTHER_BUILD = "metadata and shards are of different builds; load the dataset again, or fetch both again"


class ShardReader:
    """Reads vectors out of the shards of one dataset: the header once a shard, then the bytes of each vector.

    Args:
        root: the dataset's folder, or an address such as ``hf://datasets/owner/nws``.
    """

    def __init__(self, root: str) -> None:
        self._root, self._files = root, None
        if "://" in root:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            self._files, self._root = url_to_fs(root)
        self._headers: dict[tuple[Any, ...], dict[str, Position]] = {}

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return the vector at a position, a value of the column ``weights`` of FORMAT.md.

        float32 ``(n_weights,)``, writable. Raises ``FormatError`` or ``SelectionError``.
        """
        shard = place["shard"]
        check_shard_path(shard)
        with self._open(shard) as file:
            known = shard, *self._state(file)
            if known not in self._headers:
                self._headers[known] = read_header_of(file, posixpath.join(self._root, shard)).positions
            position = _position(self._headers[known], place)
            file.seek(position.row_offset(place["row"]))
            vector = np.empty(position.n_weights, "<f4")
            n = file.readinto(vector.data.cast("B"))
        if n != position.row_nbytes:
            raise FormatError(f"{shard}: got {n} of {position.row_nbytes} bytes; try again or fetch the file")
        return vector

    def _open(self, shard: str) -> Any:
        path = posixpath.join(self._root, shard)
        try:
            if self._files is not None:  # without its option a read of kilobytes fetches megabytes ahead
                return self._files.open(path, "rb", cache_type="none")
        except FileNotFoundError as error:
            raise FormatError(f"{path}: the shard is missing; check the root {self._root!r}") from error
        if not Path(path).is_file():
            raise FormatError(missing_shard(Path(self._root), shard))
        return open(path, "rb")

    def _state(self, file: Any) -> tuple[int, ...]:
        """Return what tells a file from one that replaced it; of a remote one the size, which is mostly another."""
        if self._files is not None:
            return (file.seek(0, os.SEEK_END),)
        found = os.fstat(file.fileno())
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _position(positions: dict[str, Position], place: Mapping[str, Any]) -> Position:
    """Return where the tensor of a row lies; raises ``FormatError`` where the row's own offset and size are others."""
    shard, key, row = place["shard"], place["key"], place["row"]
    if key not in positions:
        raise FormatError(f"{shard} holds no {key}: {_OTHER_BUILD}")
    position = positions[key]
    if not 0 <= row < N_SNAPSHOTS:
        raise SelectionError(f"{shard}, {key}: row must be in [0, {N_SNAPSHOTS - 1}], got {row}")
    if (place["offset"], place["nbytes"]) != (position.row_offset(row), position.row_nbytes):
        raise FormatError(f"{shard} has {key}, row {row} in another place than the metadata say: {_OTHER_BUILD}")
    return position
