"""Commands of ``nws`` in processes of their own, which find torch imported: that takes two seconds.

They are forked from the server that forks the workers of builds, which has imported torch and done nothing else; what they
import of this package, their session, signals, environment, folder and streams are their own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builders.run.processes import _server
from nws_data.cli import main

_PACKAGES = ("nws_data", "builders", "baselines", "benchmarks", "tests")
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Process:
    """A process that runs ``target(*arguments)`` and ends with its exit status; what it prints goes into a file.

    Args:
        target: a function of a module; what it returns is the status.
        environment: all variables; those of this process by default.
        nice: on a busy machine the test must notice what happens in it.
        output: a file or terminal for both streams; by default a file that :meth:`printed` reads.
    """

    def __init__(
        self,
        target: Callable[..., int | None],
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        output: Path | None = None,
        nice: int = 0,
    ) -> None:
        self._file = None if output else tempfile.NamedTemporaryFile(prefix="nws-test-")  # noqa: SIM115 (lives as long)
        self._output = output or Path(self._file.name)
        settings = (dict(environment or os.environ), folder or Path.cwd(), self._output, nice)
        self._process = _server().Process(target=_enter, args=(settings, target, arguments), daemon=True)
        self._process.start()
        self.pid, self.sentinel = self._process.pid, self._process.sentinel

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, or the negative signal, of the process once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still runs after {timeout} s"
        return self._process.exitcode

    def ended(self) -> bool:
        """Whether it has."""
        return self._process.exitcode is not None

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text()


def nws(*arguments: str, **options: Any) -> Process:
    """Start ``nws`` with these arguments."""
    return Process(main, list(arguments), **options)


def python(code: str, *arguments: str, **options: Any) -> Process:
    """Start ``python -c code``, as it were, in a process that has torch: nothing of this repository is imported yet."""
    return Process(_run, code, arguments, **options)


def _run(code: str, arguments: tuple[str, ...]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]
    sys.argv[1:] = arguments
    exec(code, {})


def _enter(settings: Any, target: Callable[..., int | None], arguments: tuple[Any, ...]) -> None:
    environment, folder, output, nice = settings
    multiprocessing.current_process()._config["daemon"] = False  # it ends with this one, and may have workers all the same
    os.setsid()
    os.nice(nice)
    for stream, descriptor, flags in (("stdin", 0, os.O_RDONLY), ("stdout", 1, os.O_WRONLY), ("stderr", 2, os.O_WRONLY)):
        os.dup2(os.open(output if descriptor else os.devnull, flags | os.O_APPEND), descriptor)
        setattr(sys, stream, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.exit(target(*arguments))
