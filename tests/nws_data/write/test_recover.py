"""What a writer starts from after a kill or a power cut: its own complete dataset, or the one before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nws_data.check.verify import verify
from nws_data.errors import FormatError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.root import UNFINISHED
from nws_data.hashing import file_sha256
from nws_data.write.recover import sound_manifest
from tests.conftest import stage, write

SIZES = (3_000_000,)


def damage(path: Path, how: str) -> None:
    """What a power cut does to a file that was renamed, but not yet on the disk."""
    size = path.stat().st_size
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "zeros": b"\0" * size, "cut": path.read_bytes()[: size // 2]}[how])


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A dataset, the same extended, and all staged trainings."""
    folder = tmp_path_factory.mktemp("steps")
    staged = stage(folder / "staged", "random", range(8))
    for name, n in (("before", 4), ("after", 8)):
        write(folder / name, "random", staged[:4], SIZES)
        write(folder / name, "random", staged[:n], SIZES)
    return folder / "before", folder / "after", staged


def cut_off(root: Path, before: Path | None, after: Path) -> Path:
    """The folder right before a writer's end: all files of both datasets, the new manifest, the mark."""
    shutil.copytree(after, root)
    if before is None:
        (root / UNFINISHED).write_bytes(b"new\n")
    else:
        shutil.copytree(before / "metadata", root / "metadata", dirs_exist_ok=True)
        (root / UNFINISHED).write_bytes((before / MANIFEST).read_bytes())
    return root


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in root.rglob("*") if path.is_file()}


def new_files(before: Path | None, after: Path) -> list[str]:
    return sorted(
        contents(after).keys() - (contents(before).keys() if before else set()) | {MANIFEST, "SHA256SUMS", "README.md"}
    )


@pytest.mark.parametrize("extend", [False, True], ids=["new", "extended"])
@pytest.mark.parametrize(
    "how", ["empty", *(pytest.param(how, marks=pytest.mark.slow) for how in ("zeros", "cut", "removed"))]
)
def test_any_file_of_a_writer_that_a_power_cut_damaged_is_written_again(
    tmp_path: Path, steps: tuple[Path, Path, list[Path]], extend: bool, how: str
) -> None:
    before, after, staged = steps[0] if extend else None, steps[1], steps[2]
    if not extend:  # written at once
        after = tmp_path / "at_once"
        write(after, "random", staged, SIZES)
    names = new_files(before, after)
    assert len(names) >= 10
    for name in names:
        root = cut_off(tmp_path / "nws", before, after)
        damage(root / name, how)
        write(root, "random", staged, SIZES)
        assert contents(root) == contents(after), name
        shutil.rmtree(root)


def test_a_damaged_mark_loses_nothing(tmp_path: Path, steps: tuple[Path, Path, list[Path]]) -> None:
    before, after, staged = steps
    for content in (b"", b"\0" * 3000, b"{"):
        for manifest in (before, after):  # the writer was cut off before or after its manifest
            root = cut_off(tmp_path / "nws", before, after)
            shutil.copy(manifest / MANIFEST, root / MANIFEST)
            (root / UNFINISHED).write_bytes(content)
            assert sound_manifest(root) == Manifest.load(manifest)
            write(root, "random", staged, SIZES)
            assert contents(root) == contents(after)
            shutil.rmtree(root)


def test_a_shard_that_was_sound_before_the_writer_is_never_given_up(
    tmp_path: Path, steps: tuple[Path, Path, list[Path]]
) -> None:
    before, after, staged = steps
    root = cut_off(tmp_path / "nws", before, after)
    (root / Manifest.load(before).shards[0].path).write_bytes(b"")
    with pytest.raises(FormatError, match="is damaged; fetch it again"):
        write(root, "random", staged, SIZES)


def test_the_mark_goes_and_the_dataset_is_sound(steps: tuple[Path, Path, list[Path]]) -> None:
    for root in steps[:2]:
        assert not (root / UNFINISHED).exists()
        assert sound_manifest(root) == Manifest.load(root)
    assert all("goes on after" in problem for problem in verify(steps[1]).problems)
