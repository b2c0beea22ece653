"""Ways in which a build ends early, each as a real process: signals, a full disk, a second build, a wrong clock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.builds import built, interrupt, start_build, wait_for
from tests.crash.compare import problems
from tests.crash.kinds import KINDS

ROOT = Path(__file__).parents[2]
COMMAND = KINDS["fixed, 1 worker"]


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "builders", *COMMAND.commands(out)[-1]]


def run(out: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out), cwd=ROOT, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def goal() -> Path:
    return built()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_all_processes_keeps_finished_trainings(goal: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "nws"
    process = start_build(out)
    wait_for(process, "fixed-*.safetensors", out / ".build" / "trainings")
    interrupt(process, name)
    assert list((out / ".build" / "trainings").glob("fixed-*.safetensors"))
    assert run(out).returncode == 0
    assert problems(out, goal) == []


@pytest.mark.slow
def test_a_second_build_is_refused_and_the_first_unharmed(goal: Path, tmp_path: Path) -> None:
    out = tmp_path / "nws"
    first = start_build(out)
    wait_for(first, "lock", out / ".build")
    os.kill(first.pid, signal.SIGSTOP)  # however long the second takes to start
    second = run(out)
    os.kill(first.pid, signal.SIGCONT)
    _, stderr = first.communicate(timeout=300)
    assert (first.returncode, second.returncode) == (0, 2), stderr + second.stderr
    assert "another build runs in" in second.stderr
    assert problems(out, goal) == []


def _can_mount() -> bool:
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


_FULL_DISK = """
set -e
mount -t tmpfs -o size="$1" none "$2"
shift 2
"$@" && exit 90 || status=$?
test $status = 2 || exit 91
find "$0" -name '.*.tmp-*' | grep . && exit 92
mount -o remount,size=200m "$0"
"$@" && cp -r "$0/nws" "$COPY"
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "9m", "34m", "56m"], ids=["images", "training", "shards", "last shard"])
def test_a_full_disk_is_told_and_the_same_command_goes_on(goal: Path, tmp_path: Path, size: str) -> None:
    """A real small file system where this user may mount one, else a limit on file sizes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("unshare") and _can_mount():
        call = ["unshare", "-rm", "bash", "-c", _FULL_DISK, str(disk), size, str(disk), *command(disk / "nws")]
        copy = tmp_path / "copy"
        result = subprocess.run(
            call, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"COPY": str(copy)}
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "no space left" in result.stderr
    else:
        copy = disk / "nws"
        limit = {"k": 1, "m": 1024}[size[-1]] * int(size[:-1]) // 4
        limited = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *command(copy)]
        result = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 2, result.stderr
        assert run(copy).returncode == 0
    assert problems(copy, goal) == []
