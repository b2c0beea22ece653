"""Choosing 20 snapshots of a training whose length is unknown, in bounded memory, or none but a file's.

Source: Eilertsen et al. 2020, Supplement A.2 (20 uniformly sampled epochs from initialisation to convergence).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import numpy as np

from nws_data.errors import BuildError
from nws_data.space.trajectory import N_SNAPSHOTS

CAPACITY = 63
"""Vectors kept at most, the last one aside. Up to that many evaluations the choice is exact."""


def choose(kept: list[int], n: int = N_SNAPSHOTS) -> list[int]:
    """Return ``n`` of the kept evaluations, nearest to uniform points from the first to the last; ties to the earlier."""
    positions = np.asarray(kept)
    # Whole numbers: distances times n - 1, so that ties are exact. The first evaluation is always 0.
    return [int(positions[np.argmin(np.abs(positions * (n - 1) - k * positions[-1]))]) for k in range(n)]


class SnapshotBuffer:
    """Keeps the vectors of evaluations 0, s, 2s, ... with a stride s that doubles when the buffer is full.

    The first and the last evaluation are always kept, so a choice is never off by more than half the stride.

    Args:
        capacity: vectors kept, the last one aside.
        folder: where a file holds them instead of memory, so that a small machine can train large networks.
    """

    def __init__(self, capacity: int = CAPACITY, folder: Path | None = None) -> None:
        self._capacity = capacity
        self._vectors: MutableMapping[int, np.ndarray] = {} if folder is None else _VectorFile(folder)
        self._last = -1
        self.stride = 1

    def add(self, vector: np.ndarray) -> None:
        """Take the vector ``(n_weights,)`` of the next evaluation; it is copied."""
        if self._last % self.stride:
            del self._vectors[self._last]
        self._last += 1
        while self._last % self.stride == 0 and len(self._vectors) >= self._capacity:
            self.stride *= 2
            for i in [i for i in self._vectors if i % self.stride]:
                del self._vectors[i]
        self._vectors[self._last] = vector.copy()

    def result(self) -> tuple[list[int], np.ndarray]:
        """Return the chosen evaluations (ascending) and their vectors ``(20, n_weights)``."""
        chosen = choose(sorted(self._vectors))
        return chosen, np.stack([self._vectors[i] for i in chosen])


class _VectorFile(MutableMapping[int, np.ndarray]):
    """Vectors of one length and dtype by number, in a file without a name: it goes with its process, however that ends.

    Written and read rather than mapped: a full disk is an error then, not the end of the process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - as long as the buffer
        self._places: dict[int, int] = {}
        self._free: list[int] = []
        self._dtype = np.dtype(np.float32)
        self._nbytes = 0

    def __setitem__(self, number: int, vector: np.ndarray) -> None:
        self._dtype, self._nbytes = vector.dtype, vector.nbytes
        place = self._places.get(number)
        if place is None:
            place = self._free.pop() if self._free else len(self._places)
        data = vector.data.cast("B")
        try:
            while data:
                written = os.pwrite(self._file.fileno(), data, (place + 1) * self._nbytes - len(data))
                data = data[written:]
        except OSError as error:
            raise BuildError(
                f"snapshots cannot be written to {self._folder}: {error.strerror}; make room, or give more --memory so that "
                "they stay there"
            ) from error
        self._places[number] = place

    def __getitem__(self, number: int) -> np.ndarray:
        place = self._places[number]
        vector = np.empty(self._nbytes // self._dtype.itemsize, self._dtype)
        data = vector.data.cast("B")
        while data:
            read = os.preadv(self._file.fileno(), [data], (place + 1) * self._nbytes - len(data))
            if not read:
                raise BuildError(f"the snapshots' file in {self._folder} is cut short; run the same command again")
            data = data[read:]
        return vector

    def __delitem__(self, number: int) -> None:
        self._free.append(self._places.pop(number))

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._places))

    def __len__(self) -> int:
        return len(self._places)
