import errno
import os
import stat
from pathlib import Path

import pytest

from nws_data.atomic import atomic_file, remove_stale, write_bytes
from nws_data.errors import BuildError


def test_a_file_appears_complete_with_mode_0644_and_nothing_else(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "new" / "file"
    mask = os.umask(0o077)
    request.addfinalizer(lambda: os.umask(mask))
    with atomic_file(path) as stream:
        stream.write(b"half")
        assert not path.exists()
        stream.write(b" whole")
    assert path.read_bytes() == b"half whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_an_error_in_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(KeyError), atomic_file(path) as stream:
        stream.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_told_with_the_path_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(BuildError, match=rf"{tmp_path}/file: No space left on device; free some space"):
        write_bytes(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BuildError, match=rf"cannot write {tmp_path}/file/below: File exists"):
        write_bytes(tmp_path / "file" / "below", b"content")


def test_stale_temporary_files_go_and_others_stay(tmp_path: Path) -> None:
    for name in (".a.json.tmp-123", ".hidden", "a.tmp-1", ".b.tmp-x"):
        (tmp_path / name).write_bytes(b"")
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.tmp-x", ".hidden", "a.tmp-1"]
