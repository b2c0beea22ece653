"""A process that uses the hub as a person does: ``nws`` commands and lines of Python, with a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_LOOP = """
import contextlib, io, json, sys, traceback, warnings
from nws_data.cli import main
for line in sys.stdin:
    out, error, result = io.StringIO(), io.StringIO(), None
    kind, value = json.loads(line)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            if kind == "nws":
                result = main(value)
            else:
                names = {}
                exec(value, names)
                result = names.get("result")
        except Exception as problem:
            result = f"{type(problem).__name__}: {problem}"
    sys.__stdout__.write(json.dumps([result, out.getvalue(), error.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""


def environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that sees only this hub."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | settings | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more


class Client:
    """The process; close it in the end."""

    def __init__(self, url: str, home: Path, folder: Path, **more: str) -> None:
        command = [sys.executable, "-c", _LOOP]
        env = environment(url, home, **more) | {"PYTHONPATH": str(Path(__file__).parents[3])}
        self._process = subprocess.Popen(
            command, cwd=folder, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
        )

    def nws(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit status and all that it wrote."""
        status, out, error = self._ask("nws", list(arguments))
        return status, out + error

    def python(self, code: str) -> Any:
        """Run code; return what it left in ``result``, or the error as text."""
        return self._ask("python", code)[0]

    def _ask(self, kind: str, value: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([kind, value]) + "\n")
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
