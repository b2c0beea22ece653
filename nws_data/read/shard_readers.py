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

_OTHER_BUILD = "metadata and shards are of different builds; load the dataset again, or fetch both again"


class ShardReader:
    """Reads vectors out of the shards of one dataset, a folder or an address: the header once a shard, then each vector."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: Any = None
        if "://" in root:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            self._files, self._root = url_to_fs(root)
        self._shards: dict[tuple[Any, ...], dict[str, Position]] = {}

    def read(self, place: Mapping[str, Any]) -> np.ndarray:
        """Return the vector at a position, a value of the column ``weights`` of FORMAT.md.

        float32 ``(n_weights,)``, writable. Raises ``FormatError`` or ``SelectionError``.
        """
        shard = place["shard"]
        check_shard_path(shard)
        with self._opened(shard) as file:
            known: tuple[Any, ...]
            if self._files is None:
                found = os.fstat(file.fileno())
                known = shard, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
            else:
                known = shard, file.seek(0, os.SEEK_END)  # a file that was replaced is mostly of another size
            if known not in self._shards:
                self._shards[known] = read_header_of(file, posixpath.join(self._root, shard)).positions
            position = _position(self._shards[known], place)
            values = np.empty(position.n_weights, "<f4")
            file.seek(position.row_offset(place["row"]))
            n_bytes = file.readinto(values.data.cast("B"))
        if n_bytes != values.nbytes:
            raise FormatError(f"{shard}: got {n_bytes} of {values.nbytes} bytes; try again or fetch the file")
        return values

    def _opened(self, shard: str) -> Any:
        path = posixpath.join(self._root, shard)
        if self._files is None:
            if not os.path.isfile(path):
                raise FormatError(missing_shard(Path(self._root), shard))
            return open(path, "rb", buffering=0)
        try:  # without its option a read of kilobytes fetches megabytes ahead
            return self._files.open(path, "rb", cache_type="none")
        except FileNotFoundError as error:
            raise FormatError(f"{path}: the shard is missing; check the root {self._root!r}") from error


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
