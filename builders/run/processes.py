"""Worker processes of this machine, each with a pipe to this one; on Linux they start at once and share PyTorch's memory.

Importing torch takes a process some 2 s of its core and 300 MB that no other shares. So workers that compute on the CPU
are forked from a server process that has imported it and has done nothing else: no thread of this process, no lock, no
open file goes along. A card's driver does not outlive a fork, and on macOS system libraries do not: there each worker
starts afresh.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from builders.run.interrupts import SIGNALS, deferred_interrupts

# Not our own modules: the server may find others of these names than this process has.
_PRELOADED = ["torch"]
_SERVER_GONE = 255  # what multiprocessing says of a process whose server, which alone could know, has ended


def are_forked(device: str) -> bool:
    """Whether processes that compute on a device (``"cpu"``, ``"cuda"``) are forked, and share PyTorch's memory."""
    return sys.platform == "linux" and device == "cpu"


def start_process(target: Callable[..., None], *arguments: object, device: str = "cpu") -> tuple[BaseProcess, Connection]:
    """Start a process that calls ``target(connection, *arguments)``; it ends with this one.

    It never sees Ctrl-C: only this process does, and tells its workers. ``device`` is what it computes on, see the module.
    Returns the process and this end of the pipe.
    """
    if are_forked(device):
        try:
            return _start(_server(), target, arguments)
        except (OSError, EOFError):
            pass  # no socket can be made (TMPDIR is a very long path), somebody removed it, or the server was killed
    return _start(get_context("spawn"), target, arguments)


def exit_code(process: BaseProcess) -> int | None:
    """Return how a process of :func:`start_process` ended: its status, or the negative signal; None while it runs.

    One that ended after the server did counts as killed: nobody knows.
    """
    return -signal.SIGKILL if process.exitcode == _SERVER_GONE else process.exitcode


def _start(
    context: ForkServerContext | SpawnContext, target: Callable[..., None], arguments: tuple[object, ...]
) -> tuple[BaseProcess, Connection]:
    started: list[BaseProcess] = []
    try:
        with deferred_interrupts(), _held_back():
            ours, theirs = context.Pipe()
            process = context.Process(target=_run, args=(target, theirs, arguments, dict(os.environ)), daemon=True)
            process.start()
            started.append(process)
            theirs.close()
    except KeyboardInterrupt:  # it came meanwhile, and nobody will know of the process
        for orphan in started:
            orphan.kill()
            orphan.join()
        raise
    return process, ours


def _server() -> ForkServerContext:
    """Return the context of the running server; a new one imports from where this process does."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = dict(os.environ)
    os.environ.update(PYTHONSAFEPATH="1", PYTHONPATH=os.pathsep.join(sys.path))
    try:
        with _held_back():
            forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    _wait_for_server()
    return context


@cache
def _wait_for_server() -> None:
    """Wait until the server has imported what it holds, while Ctrl-C may come; a process that does nothing tells."""
    process = get_context("forkserver").Process(target=int, daemon=True)  # int() does nothing
    process.start()
    process.join()


@contextmanager
def _held_back() -> Iterator[None]:
    """Block signals in this thread; children inherit it: none is ended in the middle of an import, the server not at all."""
    resource_tracker.ensure_running()  # it unblocks SIGINT when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(
    target: Callable[..., None], connection: Connection, arguments: tuple[object, ...], environment: dict[str, str]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.environ.clear()  # a server has the variables of when it started
    os.environ.update(environment)
    target(connection, *arguments)
