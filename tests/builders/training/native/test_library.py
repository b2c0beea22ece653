"""Kernels are compiled once and kept; where there is no compiler the portable path takes over and says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPORT = """
from builders.training.compute_path import compute_path, default_cpu_backend
print(default_cpu_backend(), compute_path())
try:
    print(compute_path("native"))
except Exception as error:
    print(type(error).__name__, error)
"""


def report(tmp_path: Path, **environment: str) -> list[str]:
    """What a fresh process with its own cache says of the backends."""
    values = {key: value for key, value in os.environ.items() if key != "CC"} | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _REPORT], env=values | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_compiled_once(tmp_path):
    first = report(tmp_path)
    assert first[0].startswith("native cpu-native-1/")
    (compiled,) = (tmp_path / "nws").glob("kernels-*.so")
    made = compiled.stat().st_mtime_ns
    assert report(tmp_path) == first
    assert compiled.stat().st_mtime_ns == made


@pytest.mark.parametrize("program", ["/no/such/compiler", "false"])
def test_without_a_compiler(tmp_path, program):
    first, second = report(tmp_path, CC=program)
    assert first.startswith("portable cpu-fleet-1/")
    assert second.startswith("BuildError --backend native needs a C compiler") and "--backend portable" in second


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert report(file)[0].startswith("native ")
