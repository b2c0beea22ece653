"""Locks on files that are removed under the lock: one holder at a time, whoever ends or is killed when."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nws_data.errors import BuildError
from nws_data.lock import locked


def test_one_holder_and_nothing_left(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "taken"):
        assert path.exists()
        with pytest.raises(BuildError, match="taken"), locked(path, "taken"):
            pass
        assert path.exists()  # the refused one did not remove it
    assert not path.exists()
    with pytest.raises(KeyError), locked(path, "taken"):
        raise KeyError
    with locked(path, "taken"):
        pass


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process opens the file, its holder ends and removes it, a third makes a new one: the first must not get in."""
    path, real, n_locked = tmp_path / "lock", fcntl.flock, 0

    def overtaken(descriptor: int, operation: int) -> None:
        nonlocal n_locked
        n_locked += 1
        if n_locked == 1:
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(BuildError, match="taken"), locked(path, "taken"):
        pass
    assert n_locked == 1
    with locked(path, "taken"):
        pass


@pytest.mark.parametrize("target", ["theirs", "nowhere"])
def test_a_link_is_refused_and_its_target_left_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "lock").symlink_to(tmp_path / target)
    with pytest.raises(BuildError, match=r"lock cannot be locked .+ not a link"), locked(tmp_path / "lock", "taken"):
        pass
    assert (tmp_path / "theirs").read_text() == "theirs" and not (tmp_path / "nowhere").exists()


def test_a_child_that_is_forked_neither_holds_nor_ends_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", "taken"):
        if not (child := os.fork()):
            try:
                with locked(tmp_path / "lock", "taken"):
                    os._exit(1)
            except BuildError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(BuildError, match="taken"), locked(tmp_path / "lock", "taken"):
            pass
        if not (child := os.fork()):
            time.sleep(60)
            os._exit(0)
    with locked(tmp_path / "lock", "taken"):  # though the child lives on
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_killed_holder_is_no_hindrance(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nws_data.lock import locked\n"
        "with locked(Path(sys.argv[1]), 'taken'): print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(BuildError, match="taken"), locked(tmp_path / "lock", "taken"):
            pass
        other.kill()
    with locked(tmp_path / "lock", "taken"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(BuildError, match=r"lock cannot be locked \(No locks available\)"),
        locked(tmp_path / "lock", "taken"),
    ):
        pass
