"""Commands that print help or metadata load no heavy library: they are there at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import TinyDataset

PrintedBy = Callable[[list[str]], list[str]]
HEAVY = ("torch", "lightning", "torchmetrics", "torchvision", "sklearn", "scipy", "datasets", "matplotlib", "ray")
_SERVER = f"""
import json, numpy, os, sys
from nws_data.cli import main

for line in sys.stdin:
    if not (child := os.fork()):
        os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        try:
            status = main(json.loads(line))
        except SystemExit as end:
            status = end.code
        print()
        print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
        sys.exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
_HELP = ["", "info", "verify", "pull", "tasks", "score", "build", "plan", "rebuild", "bench", "quickstart"]
_HELP += ["push", "read", "figure", "trajectory", "weights"]
_HELP += ["import-original", "diff", "subset", "merge"]
_HELP += [f"bench {name}" for name in ("run", "board", "methods", "leaks", "drift", "check", "submit")]


@pytest.fixture(scope="module")
def printed_by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrintedBy]:
    """Return a function that runs a command in a fork of a light process and returns the printed lines; it must succeed."""
    printed = tmp_path_factory.mktemp("startup") / "printed"
    command, environment = [sys.executable, "-c", _SERVER, str(printed)], os.environ | {"COLUMNS": "80"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment, **pipes) as server:

        def ask(arguments: list[str]) -> list[str]:
            print(json.dumps(arguments), file=server.stdin, flush=True)
            assert server.stdout.readline() == "0\n"  # else the error stands in the captured output
            return printed.read_text().splitlines()

        yield ask


@pytest.mark.parametrize(
    "command",
    [*(f"{name} --help" for name in _HELP), "--version", "bench methods", "info ROOT", "tasks ROOT", "diff ROOT ROOT"],
)
def test_no_heavy_library_is_loaded(command: str, tiny_dataset: TinyDataset, printed_by: PrintedBy) -> None:
    *text, loaded = printed_by([str(tiny_dataset.root) if word == "ROOT" else word for word in command.split()])
    assert any(text) and json.loads(loaded) == []
    assert "--help" not in command or max(map(len, text)) <= 80
