"""Choosing 20 snapshots of a training whose length is unknown, in bounded memory.

Source: Eilertsen et al. 2020, Supplement A.2 (20 uniformly sampled epochs from initialisation to convergence).
"""

from __future__ import annotations

import numpy as np

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

    The first and the last evaluation are always kept, so a choice is never off by more than half the stride. ``capacity``
    vectors are kept, the last one aside.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._vectors: dict[int, np.ndarray] = {}
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
