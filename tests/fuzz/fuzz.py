"""Opens, describes, verifies and scores hostile datasets: ``python -m tests.fuzz.fuzz --mutants 5000 --seed 0``.

Looked for: an error that is none of ours, a crash, more than 10 s of work or 60 s of waiting, more than 1 GB, a file touched
outside the folder, control characters in what a command prints, and values that differ from what the files hold although
``verify`` says that they are sound. Prints every finding with its seed; exit status 1 when there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import load_dataset  # noqa: F401  (before processes are forked)
from safetensors.numpy import load_file

import nws_data
from nws_data.cli import main as nws
from nws_data.errors import NWSError
from nws_data.space.identity import SPLITS, split_of, training_id
from tests.conftest import stage, write
from tests.fuzz.mutants import copy, mutate

MOST_BYTES = 1_000_000_000
WORK_S, WAIT_S = 10, 60  # of work in Python; without any, or of work in C
TASKS = ("regress-local/test_accuracy", "local/optimizer/threshold=0", "vote/dataset/fold=1")
_EACH = 50  # mutants a process


def make_base(folder: Path) -> Path:
    """Write a small sound dataset: two random trainings of the train split and one of the test split."""
    of: dict[str, list[int]] = {split: [] for split in SPLITS}
    for index in range(30):
        of[split_of(training_id("random", index))].append(index)
    write(folder / "nws", "random", stage(folder / "staged", "random", sorted(of["train"][:2] + of["test"][:1])))
    shutil.rmtree(folder / "staged")
    return folder / "nws"


class _Watch:
    """An audit hook that notes what is opened, written or removed outside a folder."""

    def __init__(self) -> None:
        self.inside: Path | None = None
        self.touched: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None or event not in (
            "open",
            "os.remove",
            "os.rename",
            "os.rmdir",
            "os.mkdir",
            "os.link",
            "os.symlink",
        ):
            return
        for path in arguments[:2] if event == "os.rename" else arguments[:1]:
            if not isinstance(path, str | bytes):
                continue
            name = os.path.abspath(os.fsdecode(path))
            writes = event != "open" or (
                isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            parent = str(self.inside.parent)
            if (writes or name.startswith(parent)) and not name.startswith(
                (f"{self.inside}{os.sep}", f"{parent}/cache", "/dev/")
            ):
                self.touched.append(f"{event} {name}")


def examine(root: Path, watch: _Watch, seed: int) -> list[str]:
    """Verify and open a dataset and use it in two other ways; return what must not happen."""
    found: list[str] = []
    watch.inside, watch.touched = root, []
    sound = _attempt(found, lambda: nws_data.verify(root).ok)
    for name, run in [("open", lambda: _opened(root)), *random.Random(seed).sample(_uses(root), 2)]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            values = _attempt(found, run)
        if odd := [c for c in out.getvalue() if not (c.isprintable() or c == "\n")]:
            found.append(f"{name} prints {odd[0]!r}")
        if values is not None and sound and name == "open":
            watch.inside = None
            found += _differences(root, values)
            watch.inside = root
    watch.inside = None
    return found + watch.touched[:3]


def _attempt(found: list[str], run: Any) -> Any:
    try:
        return run()
    except NWSError as error:
        if len(str(error)) > 3000:
            found.append(f"a message of {len(str(error))} characters")
    except Exception:  # noqa: BLE001  (whatever it is, it is the finding)
        found.append("".join(traceback.format_exc().splitlines(keepends=True)[-5:]))
    return None


def _uses(root: Path) -> list[tuple[str, Any]]:
    tasks = [(task, lambda task=task: nws_data.load_task(task, root).counts) for task in TASKS]
    return [
        ("info", lambda: nws(["info", str(root)])),
        ("verify", lambda: nws(["verify", "--quick", str(root)])),
        ("trainings", lambda: nws_data.open(root).trainings()),
        ("row", lambda: _row(root)),
        *tasks,
    ]


def _opened(root: Path) -> dict[str, Any]:
    data = nws_data.open(root)
    windows = nws_data.RandomWindows(data, 1000, target="optimizer")
    windows.__getitems__([0, len(windows) - 1])
    data.model(-1)
    rows = range(0, len(data), 7)
    return {"vectors": [data.vector(row).numpy() for row in rows], "ids": [data["training"][row] for row in rows],
            "snapshots": [int(data["snapshot"][row]) for row in rows], "accuracy": data["test_accuracy"]}  # fmt: skip


def _row(root: Path) -> Any:
    path = next(iter(sorted((root / "metadata" / "random").glob("train-*.parquet"))), None)
    if path is None or path.is_symlink() or not path.is_file():
        return None
    try:
        place = pq.read_table(path, columns=["weights"])["weights"].to_pylist()[-1]
    except Exception:  # noqa: BLE001  (what the library does not read is no fault of ours)
        return None
    nws_data.Weights(root=str(root)).decode_example(place)
    return None


def _differences(root: Path, values: dict[str, Any]) -> list[str]:
    """Compare what the reader gave with what other libraries read from the same files."""
    places = {}
    for path in filter(Path.is_file, (root / "metadata" / "random").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            places[row["training"], row["snapshot"]] = row["weights"]
    shards: dict[str, Any] = {}
    for vector, training, snapshot in zip(values["vectors"], values["ids"], values["snapshots"], strict=True):
        place = places.get((training, snapshot))
        if place is None:
            return [f"{training}, snapshot {snapshot} is not in the file, and verify says that it is sound"]
        tensors = shards.setdefault(place["shard"], load_file(root / place["shard"]))
        right = tensors[f"t{training[-6:]}"][snapshot]
        if not np.array_equal(vector, right, equal_nan=True):
            return [f"{training}, snapshot {snapshot}: other values than in the file, and verify says that it is sound"]
    return []


def _worker(base: Path, folder: Path, seeds: list[int], answer: Any) -> None:
    """Examine some mutants; tell of each before and after."""
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True  # of what a dataset makes import: it would be a file outside the folder
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    watch = _Watch()
    signal.signal(signal.SIGPROF, _too_long)
    for seed in seeds:
        root = folder / "nws"
        _clear(root)
        copy(base, root)
        done = mutate(root, seed)
        answer.send((seed, done, None))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _peak()
        signal.setitimer(signal.ITIMER_PROF, WORK_S)
        try:
            found = examine(root, watch, seed)
        except TimeoutError:
            found = [f"more than {WORK_S} s of work"]
        signal.setitimer(signal.ITIMER_PROF, 0)
        if _peak() - before > MOST_BYTES:
            found.append(f"{(_peak() - before) / 1e9:.1f} GB")
        if (folder / "outside" / "secret").read_text() != "secret" or len(list((folder / "outside").iterdir())) > 1:
            found.append("a file beside the dataset was touched")
        answer.send((seed, done, found))


def _work_s(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _clear(root: Path) -> None:
    if root.exists():
        shutil.rmtree(root)


def fuzz(n_mutants: int, seed: int = 0, first: int = 0) -> list[str]:
    """Examine mutants; return the findings, each with its seed."""
    findings: list[str] = []
    context = multiprocessing.get_context("fork")
    torch.set_num_threads(1)  # a process that is forked beside threads may wait for them for ever
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        base = make_base(folder / "base")
        if report := nws_data.verify(base).problems:
            raise ValueError(f"the dataset that is altered is not sound: {report}")
        (folder / "outside").mkdir()
        (folder / "outside" / "secret").write_text("secret")
        seeds = [seed * 1_000_003 + i for i in range(first, n_mutants)]
        while seeds:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_worker, args=(base, folder, seeds[:_EACH], sender))
            process.start()
            sender.close()
            seeds = seeds[_follow(receiver, process, seeds[:_EACH], findings) :]
    return findings


def _follow(receiver: Any, process: Any, seeds: list[int], findings: list[str]) -> int:
    """Wait for a process; return how many mutants are done, one that ended the process included."""
    done, current = 0, (seeds[0], "", None)
    work_s: list[float] = []  # that the process has had at each look since its last message
    while done < len(seeds):
        if not receiver.poll(WAIT_S):
            work_s.append(_work_s(process.pid))
            if len(work_s) == 1 or (work_s[-1] > work_s[-2] and work_s[-1] - work_s[0] < WAIT_S):
                continue  # other programs may have had the processor
            process.kill()
            findings.append(f"seed {current[0]}: hangs ({current[1]})")
            process.join()
            return done + 1
        try:
            current = receiver.recv()
            work_s.clear()
        except EOFError:
            process.join()
            findings.append(f"seed {current[0]}: the process ended with {process.exitcode} ({current[1]})")
            return done + 1
        if current[2] is not None:
            done += 1
            findings += [f"seed {current[0]}: {text} ({current[1]})" for text in current[2]]
    process.join()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one mutant")
    options = parser.parse_args()
    first, last = (0, options.mutants) if options.only is None else (options.only, options.only + 1)
    findings = fuzz(last, options.seed, first)
    print(*findings, sep="\n")
    used_s = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{last - first:,} mutants, {len(findings)} findings, {used_s:.0f} s of CPU time")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
