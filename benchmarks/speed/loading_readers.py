"""Ways of reading the same windows or vectors; each is a function that reads them all once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from nws_data.read.dataset import NWSDataset
from nws_data.read.store import VALUE_BYTES
from nws_data.read.views import WeightView

BATCH_SIZE = 64

Reader = Callable[[], None]


class Pieces:
    """Which pieces of which rows are read, in random order: the work that all readers share.

    Args:
        data: an opened dataset.
        rows: int ``(n,)``, positions in ``data``.
        starts: int ``(n,)``, first value of each piece in its vector.
        length: values of a piece.
    """

    def __init__(self, data: NWSDataset, rows: np.ndarray, starts: np.ndarray, length: int) -> None:
        order = np.random.default_rng(0).permutation(len(rows))
        self.data, self.rows, self.starts, self.length = data, rows[order], starts[order], length

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> list[slice]:
        """Return the batches as slices of the pieces."""
        return [slice(i, min(i + BATCH_SIZE, len(self))) for i in range(0, len(self), BATCH_SIZE)]


def memcpy(pieces: Pieces, copy: bool = True, n_buffers: int = 2) -> Reader:
    """Copy each piece by the C library from the mapped file into batch buffers that stay: the reference.

    The batches go into two buffers in turn: a training loop holds one batch while the next is made, so every loader
    writes at least so much memory. With batches of tens of megabytes that exceeds the last cache, and shows.

    Calling C from Python costs about 0.2 microseconds a piece. ``copy=False`` makes the same calls for no bytes, and
    the reference is the difference of both times, which is what the loop takes in C.
    """
    store, data = pieces.data.store, pieces.data
    nbytes = pieces.length * VALUE_BYTES
    slots = n_buffers * BATCH_SIZE
    buffer = np.ones((slots, pieces.length), np.float32)  # touched, so that its pages are there
    first = [store.values(shard).ctypes.data for shard in range(len(store.shards))]
    calls = []
    for i, (row, start) in enumerate(zip(pieces.rows.tolist(), pieces.starts.tolist(), strict=True)):
        source = first[data.shard_index[row]] + VALUE_BYTES * (int(data.value_offset[row]) + start)
        calls.append((buffer.ctypes.data + i % slots * nbytes, source, nbytes if copy else 0))
    keep = (buffer, store)  # alive as long as the addresses

    def run(move: Callable[..., Any] = ctypes.memmove, _: Any = keep) -> None:
        for target, source, n in calls:
            move(target, source, n)

    return run


def loader(view: WeightView) -> Reader:
    """Read a view by torch's own loader as anybody would write it."""

    def run() -> None:
        for _ in DataLoader(view, batch_size=BATCH_SIZE, shuffle=True):
            pass

    return run


def gather(pieces: Pieces) -> Reader:
    """Read by the store alone, batch by batch."""
    store, data, length = pieces.data.store, pieces.data, pieces.length
    shards, starts = data.shard_index[pieces.rows], data.value_offset[pieces.rows] + pieces.starts
    batches = pieces.batches()

    def run() -> None:
        for batch in batches:
            store.gather(shards[batch], starts[batch], length)

    return run
