"""Commands that print help or metadata load no heavy library: they are there at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TinyDataset

HEAVY = ("torch", "lightning", "torchmetrics", "torchvision", "sklearn", "scipy", "datasets", "matplotlib", "ray")
_LOADED = f"""
import json, sys
from nws_data.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print()
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
sys.exit(status)
"""
_HELP = ["", "info", "verify", "pull", "tasks", "score", "build", "plan", "rebuild", "bench", "quickstart"]
_HELP += ["push", "read", "figure", "trajectory", "weights"]
_HELP += ["import-original", "diff", "subset", "merge"]
_HELP += [f"bench {name}" for name in ("run", "board", "methods", "leaks", "drift", "check", "submit")]


@pytest.mark.parametrize(
    "command",
    [*(f"{name} --help" for name in _HELP), "--version", "bench methods", "info ROOT", "tasks ROOT", "diff ROOT ROOT"],
)
def test_no_heavy_library_is_loaded(command: str, tiny_dataset: TinyDataset) -> None:
    arguments = [str(tiny_dataset.root) if word == "ROOT" else word for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    *text, loaded = done.stdout.splitlines()
    assert any(text) and json.loads(loaded) == []
    assert "--help" not in command or max(map(len, text)) <= 80
