"""The kill script: ``python -m tests.crash.kill --kills 120 --seed 0 --out DIR``, in short and in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def kill(folder: Path, *options: str) -> str:
    """Run the script, which forks and so wants a process of its own; return its table."""
    command = [sys.executable, "-m", "tests.crash.kill", "--out", str(folder), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def total(table: str) -> dict[str, int]:
    """The table's last row by column."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    return dict(zip(rows[0][1:], map(int, rows[-1][1:]), strict=True))


@pytest.mark.slow
def test_killed_builds_are_completed_by_the_same_command(tmp_path: Path) -> None:
    found = total(kill(tmp_path, "--kills", "3", "--kinds", "both", "extension", "--seed", "1"))
    assert found["kills"] >= 3
    assert found["cases"] == found["completed"] == found["equal"] >= 2


@pytest.mark.long
def test_150_kills_of_builds_of_all_kinds(tmp_path: Path) -> None:
    found = total(kill(tmp_path, "--kills", "150", "--seed", "2"))
    assert found["kills"] >= 150
    assert found["cases"] == found["completed"] == found["equal"] >= 50
