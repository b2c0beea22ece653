"""Ways in which a build ends early, each as a real process: signals, a full disk, a second build, a wrong clock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nws_data.cli import main
from tests.builders.builds import built, interrupt, start_build, wait_for
from tests.crash.compare import problems
from tests.crash.kinds import KINDS

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


def command(out: Path) -> list[str]:
    return KINDS["fixed, 1 worker"].commands(out)[-1]


@pytest.fixture(scope="module")
def goal() -> Path:
    return built()


@pytest.mark.slow
def test_signals_to_all_processes_keep_finished_trainings(goal: Path, tmp_path: Path) -> None:
    """The same command is ended by one, goes on, and is ended by the next."""
    out, kept = tmp_path / "nws", set[Path]()
    for name in ("SIGTERM", "SIGHUP"):
        process = start_build(out)
        wait_for(process, "fixed-*.safetensors", out / ".build" / "trainings", len(kept) + 1)
        interrupt(process, name)
        found = set((out / ".build" / "trainings").glob("fixed-*.safetensors"))
        assert found > kept
        kept = found
    assert main(command(out)) == 0
    assert problems(out, goal) == []


@pytest.mark.slow
def test_a_second_build_is_refused_and_the_first_unharmed(goal: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "nws"
    first = start_build(out)
    wait_for(first, "lock", out / ".build")
    os.kill(first.pid, signal.SIGSTOP)  # however long the second takes
    assert main(command(out)) == 2
    os.kill(first.pid, signal.SIGCONT)
    assert "another build runs in" in capsys.readouterr().err
    assert first.wait(300) == 0, first.printed()
    assert problems(out, goal) == []


def _can_mount() -> bool:
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


SIZES = ["40k", "9m", "34m", "56m"]
"""Of disks too small for the images, a second training, the first shard, and the last one."""


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_same_command_goes_on(goal: Path, tmp_path: Path) -> None:
    """A real file system that grows where this user may mount one, else a limit on file sizes."""
    out = tmp_path / "disk" / "nws"
    out.parent.mkdir()
    if shutil.which("unshare") and _can_mount():
        grow = [sys.executable, "-m", "tests.crash.full_disk", str(out.parent), *SIZES, "200m", "--", *command(out)]
        # A mount ends with its processes: the copy stays.
        call = ["unshare", "-rm", "bash", "-c", '"${@:2}" && cp -r "$1" "$1-copy"', "bash", str(out.parent), *grow]
        result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr.count("No space left on device") == len(SIZES)
        out = tmp_path / "disk-copy" / "nws"
    else:
        for size in SIZES:
            limit = {"k": 1, "m": 1024}[size[-1]] * int(size[:-1]) // 4
            limited = [sys.executable, "-m", "nws_data", *command(out)]
            call = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *limited]
            result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
            assert result.returncode == 2, result.stderr
        assert main(command(out)) == 0
    assert problems(out, goal) == []
