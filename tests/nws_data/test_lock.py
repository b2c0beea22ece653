"""Locks on files that are removed under the lock: one holder at a time, whoever ends or is killed when."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
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
    """Somebody opens the file, its holder ends and removes it, a third makes a new one: the first must not get in."""
    path, real, n_opened = tmp_path / "lock", os.open, 0

    def overtaken(*arguments: object, **options: object) -> int:
        nonlocal n_opened
        descriptor = real(*arguments, **options)  # type: ignore[arg-type]
        n_opened += 1
        if n_opened == 1:
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", overtaken)
    with locked(path, "taken"):
        assert n_opened == 2
        monkeypatch.undo()
        with pytest.raises(BuildError, match="taken"), locked(path, "taken"):
            pass


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
