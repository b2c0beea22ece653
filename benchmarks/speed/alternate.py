"""Times contenders in turns, each in a process of its own, so that a noisy machine disturbs all alike; shows results."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from builders.run.processes import are_forked
from nws_data.terminal import align

Work = Callable[[], object]
Setup = Callable[[], Work]
"""Runs once in the contender's process and returns the work to be timed; must be importable (no lambda)."""

_prepared: list[Work] = []
"""In a contender's process: its work."""


def alternate(contenders: Mapping[str, Setup], rounds: int, reset: Work | None = None) -> dict[str, list[float]]:
    """Run one warm-up and then ``rounds`` timed rounds of each contender: A B C, A B C, ..., one at a time.

    ``reset`` is called here before each, untimed. Returns the seconds of each round; raises ``RuntimeError`` with the reason
    when a contender fails or its process ends.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        context = get_context("forkserver" if are_forked("cpu") else "spawn")
        context.set_forkserver_preload(["torch"])
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, context)) for name in contenders}
        setups = {name: pools[name].submit(_prepare, setup) for name, setup in contenders.items()}
        for i in range(rounds + 1):
            for name, pool in pools.items():
                try:
                    setups[name].result()
                    if reset:
                        reset()
                    times[name].append(pool.submit(_seconds).result())
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise RuntimeError(f"the contender {name!r} ended in round {i} of {rounds}: {reason}") from error
    return {name: found[1:] for name, found in times.items()}


def _prepare(setup: Setup) -> None:
    _prepared.append(setup())


def _seconds() -> float:
    started_s = time.perf_counter()
    _prepared[0]()
    return time.perf_counter() - started_s


def compared(base: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return how many times faster ``other`` was, round by round: median, least and most; and its median seconds."""
    found = [a / b for a, b in zip(base, other, strict=True)]
    ratios = {"ratio": statistics.median(found), "least": min(found), "most": max(found)}
    return ratios | {"median_s": statistics.median(other)}


def command_line(doc: str | None, rounds: int = 5) -> argparse.ArgumentParser:
    """Return the parser that the benchmarks share: a module's docstring as help, ``--rounds`` and ``--json``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=count, default=rounds, help="alternating rounds (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser


def count(text: str) -> int:
    """Return an argument as a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print results, which all have the same fields, as JSON or as a table."""
    if as_json:
        print(json.dumps(rows, indent=1), flush=True)
    else:
        header = [name.replace("_", " ") for name in rows[0]]
        print(*align([header, *([_cell(value) for value in row.values()] for row in rows)]), sep="\n", flush=True)


def write_line(file: Path, record: Mapping[str, object]) -> None:
    """Append a record, whole, and print it."""
    line = json.dumps(record)
    with file.open("a", encoding="utf-8") as out:
        print(line, file=out, flush=True)
        os.fsync(out.fileno())
    print(line[:600], flush=True)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
