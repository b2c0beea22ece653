"""Half an hour on a card: what is right comes first, then what is fast; every task a process of its own with a deadline.

    python -m benchmarks.speed.cards smoke --seconds 540 --out DIR
    python -m benchmarks.speed.cards speed --seconds 540 --out DIR
    python -m benchmarks.speed.cards sweep e2e --seconds 540 --out DIR

Three calls of nine minutes; tasks that find no time are named. A number is a JSON line of DIR/results-PART.jsonl and of the
output, written at once, so a call that is cut short still tells something; a task that crashes, hangs or spoils its CUDA
context costs its own deadline alone. ``--cpu`` runs, small, the tasks that need no card.

smoke: environment; every layer shape compiled, then whole steps against plain PyTorch, repeated, in other slots, beside a
NaN; graph replay against the eager step; the tests of the card path. speed: ceilings (copies, products, small kernels), a
step by part, evaluation, the host's work, lanes, whole queues, eager PyTorch. sweep: tile sizes. e2e: two builds compared
bit for bit, and what bfloat16 does to weights. What a task measures stands in ``card_checks.py`` and ``card_speed.py``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.alternate import count, write_line

MOST_SECONDS = 600
_LEAST_SECONDS = 5.0  # for a task to be started at all


@dataclass(frozen=True)
class Task:
    """A function of ``card_checks.py`` or ``card_speed.py``, and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()
    deadline_s: float = 60
    width: int = 1  # how many neighbours of the same name may run at once
    cpu: bool = False  # whether --cpu runs it


_SHAPES = [("smallest", "32", "16"), ("fixed", "64", "64"), ("largest", "64", "16"), ("fixed", "32", "128"),
           ("smallest", "256", "16"), ("largest", "256", "16")]  # fmt: skip
_TESTS = "tests/builders/compute/cards"
PARTS = {
    "smoke": [
        Task("environment", cpu=True),
        *[Task("compile", ("bfloat16", f, i), 150, 12) for f in "753" for i in "01"],
        *[Task("shapes", ("bfloat16", f), 120, 3, cpu=f == "3") for f in "537"],
        *[Task("graph", (name, "bfloat16"), 60) for name in ("smallest", "fixed")],
        Task("pytest", (f"{_TESTS}/kernels/test_program.py",), 120),
        *[
            Task("pytest", (f"{_TESTS}/{name}.py",), 90, 3)
            for name in ("kernels/test_images", "test_fleet", "test_trainer", "test_bank", "test_job")
        ],
        *[Task("shapes", (precision, f), 120, 3) for precision in ("float32", "tf32") for f in "537"],
        Task("sanitizer", ("smallest",), 120),
    ],
    "speed": [
        Task("ceilings"),
        Task("launches"),
        *[Task("step", (*shape, "bfloat16"), 60) for shape in _SHAPES[:3]],
        *[Task("evaluation", (name,), 60, cpu=name == "smallest") for name in ("fixed", "largest", "smallest")],
        Task("host", cpu=True),
        *[Task("lanes", (n,), 60) for n in ("8", "1", "4", "16")],
        *[Task("queue", (population, "bfloat16"), 60) for population in ("fixed", "random")],
        *[Task("eager", (population,), 40, cpu=population == "fixed") for population in ("fixed", "random")],
        *[Task("step", (*shape, "bfloat16"), 60) for shape in _SHAPES[3:]],
        Task("step", ("fixed", "64", "64", "tf32"), 60),
    ],
    "sweep": [Task("tiles", (i,), 60) for i in "012345"],
    "e2e": [Task("build", ("bfloat16",), 150, cpu=True), Task("precision", ("48",), 240)],
}


def run_part(tasks: Sequence[Task], file: Path, until_s: float, cpu: bool = False) -> None:
    """Run tasks in order, neighbours of one kind side by side where they may; how each ended is a line of the file, too."""
    for _, group in itertools.groupby((task for task in tasks if task.cpu or not cpu), lambda task: (task.name, task.width)):
        some = list(group)
        with ThreadPoolExecutor(some[0].width) as pool:
            list(pool.map(lambda task: _run_task(task, file, until_s, cpu), some))


def _run_task(task: Task, file: Path, until_s: float, cpu: bool) -> None:
    started_s = time.monotonic()
    limit_s = min(task.deadline_s, until_s - started_s)
    head: dict[str, object] = {"task": task.name, "arguments": task.arguments}
    if limit_s < _LEAST_SECONDS:
        write_line(file, head | {"end": "no time left"})
        return
    command = [sys.executable, "-m", "benchmarks.speed.cards", "--task", str(file), "cpu" if cpu else "cuda", task.name]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen([*command, *task.arguments], stderr=errors, start_new_session=True)
        try:
            end: object = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            end = "deadline"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the group that this task alone is in
                process.wait()
        errors.seek(0)
        tail = {} if end == 0 else {"stderr": errors.read()[-1500:]}
    write_line(file, head | {"end": end, "seconds": round(time.monotonic() - started_s, 1)} | tail)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run parts, one after another, within the time given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", choices=PARTS, nargs="+")
    parser.add_argument("--seconds", type=count, default=540, help=f"for all parts together, at most {MOST_SECONDS}")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="where the results go (default: here)")
    parser.add_argument("--cpu", action="store_true", help="the tasks that need no card, small: measures nothing")
    options = parser.parse_args(arguments)
    if options.seconds > MOST_SECONDS:
        parser.error(f"--seconds {options.seconds}: at most {MOST_SECONDS}; give the parts in several calls")
    until_s = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        run_part(PARTS[part], options.out / f"results-{part}.jsonl", until_s, options.cpu)


def run_task(file: str, device: str, name: str, *arguments: str) -> None:
    """Run a task in this process."""
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    from benchmarks.speed import card_checks, card_speed
    from benchmarks.speed.card_checks import Job

    (vars(card_checks) | vars(card_speed))[name](Job(Path(file), device, name, arguments), *arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        run_task(*sys.argv[2:])
    else:
        main()
