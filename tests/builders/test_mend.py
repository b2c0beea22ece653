"""A finished dataset that is damaged later: the same command puts it right, byte for byte, or says why it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.build import build
from builders.config import BuildConfig
from builders.images.prepare import ImageOptions
from nws_data.check.verify import verify
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.manifest_copy import MANIFEST_COPY
from nws_data.format.metadata import read_table
from nws_data.format.root import UNFINISHED
from tests.crash.compare import differences
from tests.crash.power import damage

SEED = 1671  # its first seven fixed and four random trainings have small batches, so that few images are enough


def config(out: Path, **changes: object) -> BuildConfig:
    values = {"out": out, "trainings": {"fixed": 2, "random": 1}, "workers": 1, "seed": SEED, "epoch_cap": 19}
    values["images"] = ImageOptions(sources=("digits",), n_train=120, n_test=50)
    return BuildConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "nws"
    build(config(root))
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "nws"))


def mended(copy: Path, built: Path) -> bool:
    """Run the same command; whether the dataset is then as it was."""
    build(config(copy))
    assert verify(copy).ok, verify(copy).problems
    assert differences(copy, built) == []
    return True


@pytest.mark.parametrize("how", ["empty", "zeros", "cut", "end in zeros", "removed"])
def test_every_small_file_is_written_again(copy: Path, built: Path, how: str) -> None:
    manifest = Manifest.load(built)
    snapshots = manifest.populations["fixed"].splits["train"].metadata
    for path in ("README.md", "SHA256SUMS", MANIFEST, snapshots):
        damage(copy / path, how)
        assert mended(copy, built), path


def test_lost_provenance_is_written_as_unknown(copy: Path, built: Path) -> None:
    damage(copy / Manifest.load(built).provenance, "zeros")
    assert mended(copy, built)
    rows = read_table(copy, Manifest.load(copy), Manifest.load(copy).provenance).to_pylist()
    assert [row["training"] for row in rows] == ["fixed-000000", "fixed-000001", "random-000000"]
    assert {row["host"] for row in rows} == {""}


@pytest.mark.slow
def test_a_damaged_shard_and_lost_learning_curves_are_trained_again(
    copy: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = Manifest.load(built).populations["random"].splits
    ((_, split),) = shard.items()
    damage(copy / split.shards[0].path, "end in zeros")
    assert mended(copy, built)
    assert "1 damaged files are written again; 1 trainings are trained again" in capsys.readouterr().err
    for path in Manifest.load(built).trainings.values():
        damage(copy / path, "empty")
    damage(copy / split.metadata, "removed")
    assert mended(copy, built)


def test_other_options_do_not_mend(copy: Path, built: Path) -> None:
    shard = next(iter(Manifest.load(built).populations["fixed"].splits.values())).shards[0].path
    damage(copy / shard, "cut")
    with pytest.raises(
        BuildError, match=r"damaged; the trainings in them were built with other options: epoch_cap was 19, now 20"
    ):
        build(config(copy, epoch_cap=20))
    assert differences(copy, built) == [f"{shard}: differs"]


@pytest.mark.parametrize("how", ["empty", "zeros", "cut", "end in zeros", "removed"])
def test_the_manifest_comes_back_from_its_copy_alone(copy: Path, built: Path, how: str) -> None:
    for path in ("README.md", "SHA256SUMS", MANIFEST):  # all that a writer wrote last
        damage(copy / path, how)
    assert mended(copy, built)
    damage(copy / MANIFEST_COPY, how)
    assert mended(copy, built)


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_manifest_whose_copy_is_lost_too_is_refused_and_no_file_is_touched(copy: Path, built: Path, how: str) -> None:
    damage(copy / MANIFEST_COPY, "end in zeros")
    for lost in ((MANIFEST,), (MANIFEST, "SHA256SUMS")):
        for path in lost:
            damage(copy / path, how)
        before = files(copy)
        message = r"is missing, and there is no sound copy|holds something else" if how == "removed" else r"not a readable"
        with pytest.raises((BuildError, FormatError), match=message):
            build(config(copy))
        assert files(copy) == before
        for path in lost:
            shutil.copy(built / path, copy / path)
    assert mended(copy, built)


def test_a_copy_of_another_dataset_is_not_taken(copy: Path, built: Path, tmp_path: Path) -> None:
    build(config(tmp_path / "other", trainings={"fixed": 1}))
    shutil.copy(tmp_path / "other" / MANIFEST, copy / MANIFEST_COPY)
    (copy / MANIFEST).unlink()
    with pytest.raises(FormatError, match=r"of another dataset, not the one that SHA256SUMS names"):
        build(config(copy))
    (copy / "SHA256SUMS").unlink()
    before = files(copy)
    with pytest.raises(FormatError, match=r"of another dataset, which does not name weights/"):
        build(config(copy))
    assert files(copy) == before


def test_a_copy_alone_makes_no_dataset(copy: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "emptied", tmp_path / "somebodys"):
        folder.mkdir()
        shutil.copy(copy / MANIFEST_COPY, folder)
    (tmp_path / "somebodys" / "weights").mkdir()
    theirs = tmp_path / "somebodys" / "weights" / "model.safetensors"
    theirs.write_text("mine")
    with pytest.raises(BuildError, match=r"holds something else than an NWS dataset \(weights\)"):
        build(config(tmp_path / "somebodys"))
    assert theirs.read_text() == "mine"
    build(config(tmp_path / "emptied", trainings={"fixed": 1}))  # after rm -rf folder/*: another, new dataset
    assert verify(tmp_path / "emptied").ok


def test_an_altered_manifest_is_not_believed_against_its_copy_and_checksum(copy: Path, built: Path) -> None:
    manifest = Manifest.load(copy)
    sha256 = manifest.sha256[manifest.provenance]
    content = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(content.replace(sha256, sha256[::-1]))
    assert mended(copy, built)
    assert (copy / MANIFEST).read_text() == content


def test_a_damaged_mark_and_a_lost_manifest_lose_nothing(copy: Path, built: Path) -> None:
    (copy / UNFINISHED).write_bytes(b"")
    (copy / MANIFEST).unlink()
    shard = next(copy.rglob("*.safetensors"))
    before = shard.stat().st_ino
    assert mended(copy, built)
    assert shard.stat().st_ino == before
