"""Builds in processes of their own, forked so that their imports cost nothing, and killed at a chosen file operation.

The process that imports this stays small: it forks, waits and kills, so that a fork finds one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nws_data.cli import main

CLOCK = Path(__file__).parent / "clock"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


@dataclass(frozen=True)
class Aim:
    """SIGKILL right before the n-th file operation under the output folder, or ``delay_s`` after it."""

    operation: int
    delay_s: float = 0.0
    group: bool = True  # with the workers, else the parent alone


class _FileOperations:
    """Sees, by Python's audit events, every operation that changes files under a folder."""

    def __init__(self, out: Path, aim: Aim | None, ready: Path | None) -> None:
        self.out, self.aim, self.ready, self.pid = str(out), aim, ready, os.getpid()
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or os.getpid() != self.pid:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        relative_to_folder = event in ("os.remove", "os.rmdir") and arguments[1] != -1  # as in shutil.rmtree
        if isinstance(path, int) or (not relative_to_folder and not os.fspath(path).startswith(self.out)):
            return
        if self.aim and len(self.seen) == self.aim.operation:
            _strike(self.aim)
        if self.ready and ".nws-unfinished" in os.fspath(path):
            ready, self.ready = self.ready, None
            shutil.copytree(self.out, ready)
        self.seen.append(f"{event} {os.path.relpath(path, self.out) if not relative_to_folder else '.build'}")


def _strike(aim: Aim) -> None:
    target = 0 if aim.group else os.getpid()
    if aim.delay_s:
        if os.fork():
            return
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # a copy of the lock would outlive the one that is killed
        time.sleep(aim.delay_s)
    os.kill(target, signal.SIGKILL)
    os._exit(0)


def start(
    out: Path, command: list[str], log: Path, aim: Aim | None = None, clock: str = "", ready: Path | None = None
) -> int:
    """Start ``nws`` with a command in a session of its own; return its process id.

    The names of its file operations stand in ``log`` as JSON when it ends by itself, what it printed in ``log``.txt.
    With ``ready`` the folder is copied there when the export begins.
    """

    def run() -> int:
        if clock:
            os.environ["NWS_TEST_CLOCK"] = clock
            os.environ["PYTHONPATH"] = f"{CLOCK}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
            exec((CLOCK / "sitecustomize.py").read_text(), {"__name__": "clock"})
        operations = _FileOperations(out, aim, ready)
        sys.addaudithook(operations)
        status = main(command)
        operations.aim = None
        log.write_text(json.dumps(operations.seen))
        return status

    return _fork(run, log.with_suffix(".txt"))


def _fork(run: Callable[[], int], printed: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        os.setsid()
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = run()
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ask(question: Callable[[], Any], answer: Path) -> Any:
    """Return what a function returns that runs in a forked process; raises ``RuntimeError`` when it fails."""

    def run() -> int:
        answer.write_text(json.dumps(question()))
        return 0

    if finish(_fork(run, answer.with_suffix(".txt"))) != 0:
        raise RuntimeError(answer.with_suffix(".txt").read_text())
    return json.loads(answer.read_text())


def ended(pid: int) -> int | None:
    """Return the exit status (negative: the signal) of a process that has ended, else None."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def finish(pid: int, timeout_s: float = 900.0) -> int:
    """Wait for a process; return its exit status. Raises ``TimeoutError``, the process is killed then."""
    end_s = time.monotonic() + timeout_s
    while (status := ended(pid)) is None:
        if time.monotonic() > end_s:
            kill(pid)
            raise TimeoutError(f"process {pid} still ran after {timeout_s:.0f} s")
        time.sleep(0.02)
    return status


def kill(pid: int, group: bool = True) -> None:
    """SIGKILL to a process or its whole session; wait for its end."""
    if group:
        with suppress(ProcessLookupError):  # it has none yet
            os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def process_ids() -> list[int]:
    """Return the ids of all processes that can be seen (Linux)."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def workers_of(pid: int) -> list[int]:
    """Return the process ids of all descendants (Linux): workers, the server that forks them, multiprocessing's helper."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [worker for child in children for worker in workers_of(child)]
