"""How fast weights are read, as ratios to a memory copy of the same pieces: ``python -m benchmarks.speed.loading``.

The reference is what C's memcpy takes for the same windows in the same order, from the same mapped files (page cache
warm): about 12 to 17 GB/s, 0.6 to 0.8 million windows of 5,000 values per second and
core. Readers and reference alternate, and each reader's figure is the median over rounds of reference time / its own
time, so other work on the machine spoils a round, not the result. The reference writes batches into two buffers in turn,
as a loader must whose caller holds one batch while the next is made; for whole vectors "memcpy into one buffer" is given
too. Takes about 15 seconds and 360 MB in a temporary folder; peak memory counts the mapped pages.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed import loading_readers as readers
from benchmarks.speed.loading_data import write_random_dataset
from benchmarks.speed.loading_readers import Pieces, Reader
from nws_data.errors import SelectionError
from nws_data.read.dataset import NWSDataset
from nws_data.read.dataset import open as open_dataset
from nws_data.read.views import GlobalVectors, RandomWindows
from nws_data.space.trajectory import N_SNAPSHOTS

N_TRAININGS = 48
WINDOW = 5000
WINDOWS_PER_VECTOR = 16

BARS = {"windows, DataLoader": 0.45, "vectors, DataLoader": 0.8}
"""Ratios that this project holds itself to."""


@dataclass(frozen=True)
class Result:
    """One reader's speed."""

    name: str
    ratio: float  # reference time / reader time, median over rounds
    per_second: float  # pieces, median
    gb_per_second: float
    bar: float | None = None


@dataclass(frozen=True)
class Entry:
    """A reader with the number of pieces it reads in one call."""

    name: str
    run: Reader
    n: int


def seconds(run: Reader) -> float:
    """Return the wall time of the second of two calls: the first brings the caches into the state that it keeps."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(pieces: Pieces, entries: list[Entry], rounds: int) -> list[Result]:
    """Measure readers against the memory copy of ``pieces`` in alternating rounds."""
    copy, calls = readers.memcpy(pieces), readers.memcpy(pieces, copy=False)
    reference: list[float] = []
    times: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for _ in range(rounds):
        copied = (seconds(copy) - seconds(calls)) / len(pieces)
        measured = {entry.name: seconds(entry.run) / entry.n for entry in entries}
        reference.append(copied)
        for name, value in measured.items():
            times[name].append(value)
    found = [_result("memcpy", reference, reference, pieces.length)]
    return found + [_result(name, reference, values, pieces.length) for name, values in times.items()]


def _result(name: str, reference: list[float], times: list[float], length: int) -> Result:
    ratio = statistics.median(r / t for r, t in zip(reference, times, strict=True))
    per_second = 1 / statistics.median(times)
    return Result(name, ratio, per_second, 4e-9 * length * per_second, BARS.get(name))


def measure_windows(data: NWSDataset, rounds: int) -> list[Result]:
    """Compare the readers of random windows."""
    view = RandomWindows(data, WINDOW, target="optimizer", windows_per_vector=WINDOWS_PER_VECTOR)
    pieces = Pieces(data, np.repeat(np.arange(len(data)), WINDOWS_PER_VECTOR), view.starts(), WINDOW)
    entries = [
        Entry("windows, DataLoader", readers.loader(view), len(view)),
        Entry("windows, store alone", readers.gather(pieces), len(pieces)),
    ]
    return compare(pieces, entries, rounds)


def measure_vectors(data: NWSDataset, rounds: int) -> list[Result]:
    """Compare the readers of whole vectors; data of one architecture."""
    view = GlobalVectors(data, target="optimizer")
    pieces = Pieces(data, np.arange(len(data)), np.zeros(len(data), np.int64), view.length)
    entries = [
        Entry("vectors, DataLoader", readers.loader(view), len(view)),
        Entry("vectors, store alone", readers.gather(pieces), len(pieces)),
        Entry("memcpy into one buffer", readers.memcpy(pieces, n_buffers=1), len(pieces)),
    ]
    return compare(pieces, entries, rounds)


def measure(data: NWSDataset, rounds: int) -> dict[str, object]:
    """Return all results, and peak memory in MB, as JSON values."""
    results = measure_windows(data, rounds)
    if len(np.unique(data["n_weights"])) == 1:
        results += measure_vectors(data, rounds)
    return {
        "results": [asdict(result) for result in results],
        "snapshots": len(data),
        "data_mb": float(data["n_weights"].sum() * 4 / 1e6),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def render(report: dict[str, object]) -> str:
    """Return the report as text."""
    lines = [f"{'reader':34} {'ratio':>7} {'bar':>5} {'pieces/s':>11} {'GB/s':>6}"]
    for result in report["results"]:  # type: ignore[attr-defined]
        bar = "" if result["bar"] is None else f"{result['bar']:.2f}"
        figures = f"{result['ratio']:7.3f} {bar:>5} {result['per_second']:11,.0f} {result['gb_per_second']:6.2f}"
        lines.append(f"{result['name']:34} {figures}")
    tail = f"{report['snapshots']} snapshots, {report['data_mb']:.0f} MB; peak memory {report['peak_memory_mb']:.0f} MB"
    return "\n".join([*lines, tail + " (mapped pages counted)"])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.loading", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="a dataset's folder; its first trainings are read (default: a made-up one)"
    )
    parser.add_argument("--population", help="fixed or random, of --data")
    parser.add_argument(
        "--trainings", type=int, default=N_TRAININGS, help="how many trainings to read (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if options.trainings < 1 or options.rounds < 1:
        raise SelectionError("--trainings and --rounds must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        if options.data:
            data = open_dataset(options.data, options.population)
            data = data.take(np.arange(min(len(data), N_SNAPSHOTS * options.trainings)))
        else:
            data = write_random_dataset(Path(folder) / "nws", options.trainings)
        report = measure(data, options.rounds)
    print(json.dumps(report, indent=1) if options.json else render(report))


if __name__ == "__main__":
    main()
