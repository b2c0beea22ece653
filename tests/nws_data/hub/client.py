"""A process that uses the hub as a person does: ``nws`` commands and lines of Python, with a cache of its own."""

from __future__ import annotations

import contextlib
import io
import os
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nws_data.cli import main
from tests.processes import Process


def _answer(connection: Connection) -> int:
    while (asked := connection.recv()) is not None:
        out, error, result = io.StringIO(), io.StringIO(), None
        kind, value = asked
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                if kind == "nws":
                    result = main(value)
                else:
                    names: dict[str, Any] = {}
                    exec(value, names)
                    result = names.get("result")
            except Exception as problem:  # noqa: BLE001 (whatever it is, it is the answer)
                result = f"{type(problem).__name__}: {problem}"
        connection.send((result, out.getvalue(), error.getvalue()))
    return 0


def environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that sees only this hub."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | settings | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more


class Client:
    """The process; close it in the end."""

    def __init__(self, url: str, home: Path, folder: Path, **more: str) -> None:
        self._connection, theirs = Pipe()
        self._process = Process(_answer, theirs, environment=environment(url, home, **more), folder=folder)

    def nws(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit status and all that it wrote."""
        status, out, error = self._ask("nws", list(arguments))
        return status, out + error

    def python(self, code: str) -> Any:
        """Run code; return what it left in ``result``, or the error as text."""
        return self._ask("python", code)[0]

    def _ask(self, kind: str, value: Any) -> Any:
        self._connection.send((kind, value))
        return self._connection.recv()

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.wait()
