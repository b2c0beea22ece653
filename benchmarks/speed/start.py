"""How long workers take to start, and what each takes of its own: forked from the server, against started afresh.

    python -m benchmarks.speed.start [--workers 8] [--rounds 5] [--json]

Each way in a Python process of its own, in turns: from the first start to the last worker that is ready to compute. The
server itself starts within that time. Memory is the private one of a worker that is ready. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from nws_data.terminal import align

ROOT = Path(__file__).parents[2]
WAYS = {"forked": "cpu", "afresh": "cuda"}  # a card's workers start afresh


def get_ready(connection: Connection) -> None:
    """Process entry: do what a worker does before its first job, tell the memory, wait."""
    from benchmarks.speed.memory import memory_mb
    from builders.compute.compute_path import enter_compute_path

    enter_compute_path()
    connection.send(memory_mb()["private"])
    connection.recv()


def start_all(way: str, n_workers: int) -> dict[str, float]:
    """Start workers in one way; return seconds until all are ready, and megabytes of one."""
    from builders.run.processes import start_process

    started_s = time.perf_counter()
    workers = [start_process(get_ready, device=WAYS[way]) for _ in range(n_workers)]
    private_mb = [connection.recv() for _, connection in workers]
    ready_s = time.perf_counter() - started_s
    for process, connection in workers:
        connection.send(None)
        process.join()
    return {"ready_s": ready_s, "private_mb": median(private_mb)}


def measure(n_workers: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return what :func:`start_all` measured of each way, round by round, after one that warms the files up."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for i in range(rounds + 1):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.speed.start", "--once", way, "--workers", str(n_workers)]
            result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, cwd=ROOT)
            if i:
                found[way].append(json.loads(result.stdout))
    return found


def main() -> None:
    """Print both ways and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--once", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(start_all(options.once, options.workers)))
        return
    found = measure(options.workers, options.rounds)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    rows = [["workers", "start", "ready, s", "own memory, MB"]]
    for way, measured in found.items():
        ready_s, private_mb = (median(m[key] for m in measured) for key in ("ready_s", "private_mb"))
        rows.append([str(options.workers), way, f"{ready_s:.1f}", f"{private_mb:,.0f}"])
    print("\n".join(align(rows)))
    ratios = [b["ready_s"] / a["ready_s"] for a, b in zip(found["forked"], found["afresh"], strict=True)]
    print(f"forked: {median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
