"""The weight values of a dataset, gathered from memory-mapped shards at the speed of a memory copy.

A batch is one ``np.concatenate`` of views into the maps, straight into the tensor that the caller gets. It was kept
against mapping all shards into one address range with ``torch.index_select`` (about a fifth faster for windows of
5,000 values, but needs mmap at fixed addresses through ctypes, and a second code path where that is missing).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws_data.errors import FormatError, NWSError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.partial import missing_shard
from nws_data.format.shards import check_shard_path, read_header
from nws_data.hub.repository import Repository, read_ranges
from nws_data.read.buffers import BatchBuffers

if TYPE_CHECKING:
    from torch import Tensor

VALUE_BYTES = 4
"""Bytes of a stored value: everything is float32."""

_HAS_ADVICE = hasattr(mmap, "MADV_WILLNEED")
if _HAS_ADVICE:
    _MADVISE = ctypes.CDLL(None).madvise
    _MADVISE.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
# A batch slower than this did not come from memory: 15 microseconds for a window of 5,000 values.
_SLOW_PIECE_S = 2e-6
_SLOW_VALUE_S = 2.6e-9


@dataclass(frozen=True)
class Shard:
    """A shard as the metadata describe it."""

    path: str  # inside the dataset's folder
    offsets: Mapping[str, int]  # absolute position in bytes of each tensor that is read from it, by key
    sha256: str | None = None  # as the manifest had it when the metadata were read; None: not compared

    def __post_init__(self) -> None:
        check_shard_path(self.path)


class WeightStore:
    """Read-only access to shards in one folder; opens each when it is first read.

    Pickles as paths, so a worker process (fork or spawn) maps the files again. The first argument of :meth:`gather` counts
    in ``shards``.
    """

    def __init__(self, root: str | Path, shards: Sequence[Shard]) -> None:
        self.root = Path(root)
        self.shards = list(shards)
        self._forget()

    def _forget(self) -> None:
        self._addresses: dict[int, int] = {}
        self._views = _OpenOnUse(self)
        self._buffers = BatchBuffers()
        self._cold = False

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def gather(self, shards: np.ndarray, starts: np.ndarray, length: int) -> Tensor:
        """Copy pieces of ``length`` values into one tensor, float32 ``(n, length)``, owned by the caller.

        ``shards``, int ``(n,)``, are positions in :attr:`shards`; ``starts``, int64 ``(n,)``, where each piece starts, in
        values from the beginning of its file. Raises ``FormatError`` where a shard is missing, truncated or not the one that
        the metadata describe.
        """
        out = self._buffers.take((len(starts), length))
        starts_list = starts.tolist()
        self._copy(shards.tolist(), starts_list, [start + length for start in starts_list], out)
        return out

    def gather_padded(self, shards: np.ndarray, starts: np.ndarray, lengths: np.ndarray, width: int) -> Tensor:
        """Copy pieces of different lengths (int64 ``(n,)``, at most ``width``) and fill up with zeros.

        Returns float32 ``(n, width)``; the rest is as in :meth:`gather`.
        """
        out = self._buffers.take((len(starts), width))
        zeros = np.zeros(width, np.float32)
        padding = [zeros[length:] for length in lengths.tolist()]
        self._copy(shards.tolist(), starts.tolist(), (starts + lengths).tolist(), out, padding)
        return out

    def _copy(
        self, shards: list[int], starts: list[int], stops: list[int], out: Tensor, padding: list[np.ndarray] | None = None
    ) -> None:
        if not starts:
            return
        began = time.perf_counter()
        if self._cold:
            self._advise(shards, starts, stops)
        pieces = self._pieces(shards, starts, stops)
        if padding is not None:
            pieces = [part for pair in zip(pieces, padding, strict=True) for part in pair]
        try:
            np.concatenate(pieces, out=out.view(-1).numpy())
        except ValueError:  # a piece that ends behind its file
            views = self._views
            for shard, stop in zip(shards, stops, strict=True):
                if stop > len(views[shard]):
                    raise FormatError(
                        f"{self.root / self.shards[shard].path}: the metadata name bytes up to {stop * VALUE_BYTES}, the "
                        f"file has {len(views[shard]) * VALUE_BYTES}; check the folder with `nws verify {self.root}`"
                    ) from None
            raise
        # Advice makes a cold read 60 times faster and a hot one a third slower, so it follows the last batch.
        limit = len(starts) * _SLOW_PIECE_S + out.numel() * _SLOW_VALUE_S
        self._cold = _HAS_ADVICE and time.perf_counter() - began > limit

    def _pieces(self, shards: list[int], starts: list[int], stops: list[int]) -> list[np.ndarray]:
        views = self._views
        return [views[shard][start:stop] for shard, start, stop in zip(shards, starts, stops, strict=True)]

    def _advise(self, shards: list[int], starts: list[int], stops: list[int]) -> None:
        """Ask the system to read all pieces at once, before the first is touched."""
        views = self._views
        for shard, start, stop in zip(shards, starts, stops, strict=True):
            if stop > len(views[shard]):
                continue
            first = start * VALUE_BYTES // mmap.PAGESIZE * mmap.PAGESIZE
            _MADVISE(self._addresses[shard] + first, stop * VALUE_BYTES - first, mmap.MADV_WILLNEED)

    def values(self, shard: int) -> np.ndarray:
        """Return a whole shard as read-only float32 values from the beginning of its file, header included."""
        return self._views[shard]

    def _open(self, shard: int) -> np.ndarray:
        """Map a shard that the metadata describe.

        The size is checked before: touching a map behind the end of its file kills the process.
        """
        expected = self.shards[shard]
        path = self.root / expected.path
        if not path.is_file():
            raise FormatError(missing_shard(self.root, expected.path))
        header = read_header(path)
        positions = header.positions
        for key, offset in expected.offsets.items():
            if key not in positions or positions[key].offset != offset:
                found = f"at byte {positions[key].offset}" if key in positions else "not in it"
                raise FormatError(
                    f"{path}: the metadata place {key} at byte {offset}, but it is {found}: shard and metadata are of "
                    f"different builds; check the folder with `nws verify {self.root}`"
                )
        if expected.sha256:
            manifest = self.root / MANIFEST
            listed, snapshots = _listed(self.root, manifest.stat().st_mtime_ns if manifest.exists() else 0)
            if listed.get(expected.path) != expected.sha256:
                raise FormatError(f"{self.root}: the dataset was built again since it was opened: open it again")
            if header.snapshots != snapshots:
                raise FormatError(f"{path}: holds other snapshots than {MANIFEST} says; `nws verify {self.root}` says more")
        values = map_values(path)
        self._addresses[shard] = values.ctypes.data
        return values


class StreamedStore(WeightStore):
    """Shards that are here are read from memory as in :class:`WeightStore`, pieces of others by HTTP ranges.

    Nothing is kept: what is read again is transferred again.
    """

    def __init__(self, store: WeightStore, repository: Repository) -> None:
        super().__init__(store.root, store.shards)
        self.repository = repository  # at a commit

    def _pieces(self, shards: list[int], starts: list[int], stops: list[int]) -> list[np.ndarray]:
        absent = {shard for shard in set(shards) if not (self.root / self.shards[shard].path).is_file()}
        asked = [
            (self.shards[shard].path, start * VALUE_BYTES, stop * VALUE_BYTES)
            for shard, start, stop in zip(shards, starts, stops, strict=True)
            if shard in absent
        ]
        read = iter(read_ranges(self.repository, asked))
        return [
            np.frombuffer(next(read), "<f4") if shard in absent else self._views[shard][start:stop]
            for shard, start, stop in zip(shards, starts, stops, strict=True)
        ]

    def _advise(self, shards: list[int], starts: list[int], stops: list[int]) -> None:
        """Do nothing: a slow batch waited for the network."""


def map_values(path: Path) -> np.ndarray:
    """Map a file as read-only float32 values; no descriptor stays open. Raises ``NWSError`` where it cannot be mapped."""
    import torch

    name: Any = os.fsencode(path)  # torch takes bytes, which need not be UTF-8
    n_values = path.stat().st_size // VALUE_BYTES
    try:  # a private map, never written; Python's mmap would keep a descriptor open for each shard
        values = torch.from_file(name, shared=False, size=n_values, dtype=torch.float32).numpy()
    except RuntimeError as error:
        raise NWSError(
            f"{path}: cannot be mapped into memory ({error}); put the dataset where the file system supports mmap, and "
            "see that `ulimit -v` leaves room for its size"
        ) from error
    values.setflags(write=False)
    return values


@lru_cache(maxsize=4)
def _listed(root: Path, state: int) -> tuple[dict[str, str], tuple[int, ...]]:
    """Return SHA-256 by path, and the snapshots that are held, from a manifest, read once for each of its states."""
    manifest = Manifest.load(root)
    return manifest.file_sha256, manifest.snapshots


class _OpenOnUse(dict[int, np.ndarray]):
    """Views of the open shards; a missing one is opened. A plain look-up costs nothing more."""

    def __init__(self, store: WeightStore) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, shard: int) -> np.ndarray:
        view = self[shard] = self._store._open(shard)
        return view
