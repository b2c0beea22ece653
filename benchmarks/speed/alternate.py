"""Times contenders in turns, each in a process of its own, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

Work = Callable[[], None]
Setup = Callable[[], Work]
"""Runs once in the contender's process and returns the work to be timed; must be importable (no lambda)."""


@dataclass(frozen=True)
class Timing:
    """What was measured of one contender."""

    rounds_s: list[float]
    peak_mb: float  # largest resident memory of its process, in 10^6 bytes

    @property
    def median_s(self) -> float:
        """Median over the rounds, in seconds."""
        return statistics.median(self.rounds_s)


def ratios(base: Timing, other: Timing) -> list[float]:
    """Return how many times faster ``other`` was, round by round."""
    return [a / b for a, b in zip(base.rounds_s, other.rounds_s, strict=True)]


def alternate(contenders: Mapping[str, Setup], rounds: int) -> dict[str, Timing]:
    """Run one warm-up and then ``rounds`` timed rounds of each contender: A B C, A B C, ..., one at a time."""
    context = get_context("spawn")
    connections: dict[str, Connection] = {}
    processes = []
    for name, setup in contenders.items():
        connections[name], theirs = context.Pipe()
        processes.append(context.Process(target=_contender, args=(setup, theirs), daemon=True))
        processes[-1].start()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, float] = {}
    for i in range(rounds + 1):
        for name, connection in connections.items():
            connection.send(True)
            elapsed_s, peaks[name] = connection.recv()
            if i:
                times[name].append(elapsed_s)
    for connection in connections.values():
        connection.send(False)
    for process in processes:
        process.join()
    return {name: Timing(times[name], peaks[name]) for name in contenders}


def _contender(setup: Setup, connection: Connection) -> None:
    work = setup()
    while connection.recv():
        started_s = time.perf_counter()
        work()
        elapsed_s = time.perf_counter() - started_s
        connection.send((elapsed_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))
