"""Times contenders in turns, each in a process of its own, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

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


def compared(base: Timing, other: Timing) -> dict[str, float]:
    """Return median, least and most of :func:`ratios`, and the median time."""
    found = ratios(base, other)
    return {"ratio": statistics.median(found), "least": min(found), "most": max(found), "median_s": other.median_s}


def alternate(contenders: Mapping[str, Setup], rounds: int) -> dict[str, Timing]:
    """Run one warm-up and then ``rounds`` timed rounds of each contender: A B C, A B C, ..., one at a time.

    Raises ``RuntimeError`` when a contender's process ends by itself; it has printed why. The others are told to stop.
    """
    context = get_context("spawn")
    connections: dict[str, Connection] = {}
    processes: list[BaseProcess] = []
    for name, setup in contenders.items():
        connections[name], theirs = context.Pipe()
        processes.append(context.Process(target=_contender, args=(setup, theirs), daemon=True))
        processes[-1].start()
        theirs.close()  # else this process would hold the last one's pipe open, and wait for ever once that one is dead
    times: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, float] = {}
    for i in range(rounds + 1):
        for name, connection in connections.items():
            try:
                connection.send(True)
                elapsed_s, peaks[name] = connection.recv()
            except (EOFError, OSError) as error:
                _dismiss(connections.values(), processes)
                raise RuntimeError(f"the contender {name!r} ended in round {i} of {rounds}; it says why above") from error
            if i:
                times[name].append(elapsed_s)
    _dismiss(connections.values(), processes)
    return {name: Timing(times[name], peaks[name]) for name in contenders}


def _dismiss(connections: Iterable[Connection], processes: Iterable[BaseProcess]) -> None:
    """Let the contenders end, those that are still there."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.send(False)
    for process in processes:
        process.join()


def _contender(setup: Setup, connection: Connection) -> None:
    work = setup()
    while connection.recv():
        started_s = time.perf_counter()
        work()
        elapsed_s = time.perf_counter() - started_s
        connection.send((elapsed_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))
