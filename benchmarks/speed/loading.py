"""How fast weights are read, as ratios to a memory copy of the same pieces: ``python -m benchmarks.speed.loading``.

The reference is what C's memcpy takes for the same windows in the same order, from the same mapped files (page cache
warm): about 12 to 17 GB/s, 0.6 to 0.8 million windows of 5,000 values per second and
core. Readers and reference alternate, and each reader's figure is the median over rounds of reference time / its own
time, so other work on the machine spoils a round, not the result. The reference writes batches into two buffers in turn,
as a loader must whose caller holds one batch while the next is made; for whole vectors "memcpy into one buffer" is given
too. Takes about 15 seconds and 360 MB in a temporary folder.
"""

from __future__ import annotations

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from benchmarks.made_up import write_random_dataset
from benchmarks.speed.alternate import Work, command_line, compared, count, show
from nws_data.read.dataset import NWSDataset
from nws_data.read.store import VALUE_BYTES
from nws_data.read.views import GlobalVectors, RandomWindows, WeightView

WINDOW = 5000
WINDOWS_PER_VECTOR = 16
BATCH_SIZE = 64

BARS = {"windows, DataLoader": 0.45, "vectors, DataLoader": 0.8}
"""Ratios that this project holds itself to."""


class Pieces(NamedTuple):
    """Which pieces of which rows are read, in random order: the work that all readers share."""

    data: NWSDataset
    rows: np.ndarray  # int (n,), positions in data
    starts: np.ndarray  # int (n,), first value of each piece in its vector
    length: int  # values of a piece


def pieces_of(view: GlobalVectors | RandomWindows, starts: np.ndarray) -> Pieces:
    """Return the pieces that a view reads which start at ``starts``, as many from each row of its data."""
    rows = np.repeat(np.arange(len(view.data)), len(starts) // len(view.data))
    order = np.random.default_rng(0).permutation(len(rows))
    return Pieces(view.data, rows[order], starts[order], view.length)


def memcpy(pieces: Pieces, copy: bool = True, n_buffers: int = 2) -> Work:
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


def load(view: WeightView) -> None:
    """Read a view by torch's own loader as anybody would write it."""
    for _ in DataLoader(view, batch_size=BATCH_SIZE, shuffle=True):
        pass


def gather(pieces: Pieces) -> Work:
    """Read by the store alone, batch by batch."""
    store, data, length = pieces.data.store, pieces.data, pieces.length
    shards, starts = data.shard_index[pieces.rows], data.value_offset[pieces.rows] + pieces.starts
    batches = [slice(i, i + BATCH_SIZE) for i in range(0, len(pieces.rows), BATCH_SIZE)]

    def run() -> None:
        for batch in batches:
            store.gather(shards[batch], starts[batch], length)

    return run


def seconds(run: Work) -> float:
    """Return the wall time of the second of two calls: the first brings the caches into the state that it keeps."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(pieces: Pieces, readers: Mapping[str, Work], rounds: int) -> list[dict[str, object]]:
    """Measure readers against the memory copy of ``pieces`` in alternating rounds; a row each."""
    copy, calls = memcpy(pieces), memcpy(pieces, copy=False)
    times: dict[str, list[float]] = {name: [] for name in ("memcpy", *readers)}
    for _ in range(rounds):
        times["memcpy"].append(seconds(copy) - seconds(calls))
        for name, run in readers.items():
            times[name].append(seconds(run))
    rows = []
    for name, own in times.items():
        per_second = len(pieces.rows) / statistics.median(own)
        row = {"reader": name, "ratio": compared(times["memcpy"], own)["ratio"], "bar": BARS.get(name)}
        speed = {"per_second": per_second, "gb_per_second": 1e-9 * VALUE_BYTES * pieces.length * per_second}
        rows.append(row | speed)
    return rows


def measure(data: NWSDataset, rounds: int) -> list[dict[str, object]]:
    """Compare the readers of random windows and of whole vectors of the fixed architecture."""
    windows = RandomWindows(data, WINDOW, target="optimizer", windows_per_vector=WINDOWS_PER_VECTOR)
    pieces = pieces_of(windows, windows.starts())
    readers: dict[str, Work] = {"windows, DataLoader": partial(load, windows), "windows, store alone": gather(pieces)}
    rows = compare(pieces, readers, rounds)
    vectors = GlobalVectors(data, target="optimizer")
    pieces = pieces_of(vectors, np.zeros(len(data), np.int64))
    readers = {
        "vectors, DataLoader": partial(load, vectors),
        "vectors, store alone": gather(pieces),
        "memcpy into one buffer": memcpy(pieces, n_buffers=1),
    }
    return rows + compare(pieces, readers, rounds)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = command_line(__doc__, rounds=9)
    parser.add_argument("--trainings", type=count, default=48, help="how many to read (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(write_random_dataset(Path(folder) / "nws", options.trainings), options.rounds)
    show(rows, options.json)


if __name__ == "__main__":
    main()
