import errno
import functools
import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from nws_data import atomic
from nws_data import open as open_dataset
from nws_data.check.verify import verify
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import read_table
from nws_data.format.records import TrainingRecord
from nws_data.format.root import UNFINISHED
from nws_data.write.folder import exclusive
from nws_data.write.writer import check_appendable, write_dataset
from tests.conftest import CARD_TEMPLATE, IMAGE_SETS, PLANS, TinyDataset, make_record, stage, write

SIZES = (3_000_000, 5_000_000)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return stage(tmp_path_factory.mktemp("staged"), "random", range(12))


def contents(root: Path) -> dict[str, str]:
    """SHA-256 of every file under ``root``, hidden ones included."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_as(
    root: Path, records: list[Path], population: str = "random", plan: Any = PLANS["random"], **changes: Any
) -> Manifest:
    arguments: dict[str, Any] = {"populations": {population: (plan, records)}, "image_sets": IMAGE_SETS}
    return write_dataset(root, **arguments | {"card_template": CARD_TEMPLATE, "shard_sizes": SIZES} | changes)


def test_every_training_comes_out_as_it_went_in(tiny_dataset: TinyDataset) -> None:
    seen, staged = [], functools.cache(tiny_dataset.record)
    shard = functools.cache(lambda path: load_file(tiny_dataset.root / path))
    for population, entry in tiny_dataset.manifest.populations.items():
        for split, stored in entry.splits.items():
            rows = read_table(tiny_dataset.root, tiny_dataset.manifest, stored.metadata).to_pylist()
            for row in rows:
                record = staged(row["training"])
                tensor = shard(row["weights"]["shard"])[row["weights"]["key"]]
                np.testing.assert_array_equal(tensor[row["snapshot"]], record.weights[row["snapshot"]])
                finite = np.isfinite(record.weights).all()
                assert (record.population, record.split, finite) == (population, split, row["finite"])
                assert row["validation_accuracy"] == record.validation_accuracy[row["epoch"]]
                seen.append(row["training"])
    assert sorted(set(seen)) == sorted(path.stem for paths in tiny_dataset.staged.values() for path in paths)
    assert len(seen) == 20 * len(set(seen)) == 20 * 32


def test_offsets_lead_to_the_values(tiny_dataset: TinyDataset) -> None:
    split = tiny_dataset.manifest.populations["random"].splits["test"]
    for row in read_table(tiny_dataset.root, tiny_dataset.manifest, split.metadata).to_pylist()[::7]:
        place = row["weights"]
        found = np.fromfile(tiny_dataset.root / place["shard"], "<f4", row["n_weights"], offset=place["offset"])
        assert place["nbytes"] == found.nbytes
        np.testing.assert_array_equal(found, tiny_dataset.record(row["training"]).weights[row["snapshot"]])


def test_sha256sum_accepts_the_dataset(tiny_dataset: TinyDataset) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=tiny_dataset.root, check=True)
    listed = {line.split("  ")[1] for line in (tiny_dataset.root / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == set(contents(tiny_dataset.root))


def test_order_of_the_records_does_not_matter(tmp_path: Path, staged: list[Path]) -> None:
    shuffled = random.Random(1).sample(staged, len(staged))
    write_as(tmp_path / "a", staged)
    write_as(tmp_path / "b", shuffled)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_writing_again_changes_nothing(tmp_path: Path, staged: list[Path]) -> None:
    write_as(tmp_path / "nws", staged)
    before = contents(tmp_path / "nws")
    write_as(tmp_path / "nws", staged)
    write_as(tmp_path / "nws", [])
    assert contents(tmp_path / "nws") == before


def test_extension_appends_and_never_touches_old_shards(tmp_path: Path, staged: list[Path]) -> None:
    root = tmp_path / "nws"
    first = write_as(root, staged[:5])
    stamps = {shard.path: (root / shard.path).stat() for shard in first.shards}
    second = write_as(root, staged)
    for path, stamp in stamps.items():
        now = (root / path).stat()
        assert (now.st_ino, now.st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns)
    for split, entry in first.populations["random"].splits.items():
        assert second.populations["random"].splits[split].shards[: len(entry.shards)] == entry.shards
    assert second.data_digest != first.data_digest
    assert not set(first.sha256) & set(second.sha256)
    assert verify(root).problems == ()

    at_once = write_as(tmp_path / "at_once", staged)
    for split, path in second.trainings.items():
        extended = read_table(root, second, path)
        assert extended == read_table(tmp_path / "at_once", at_once, at_once.trainings[split])


def test_ramp_of_sizes_goes_on_after_an_extension(tmp_path: Path, staged: list[Path]) -> None:
    train = [path for path in staged if make_record("random", int(path.stem[-6:])).split == "train"]
    write_as(tmp_path / "nws", train[:1], shard_sizes=(1, 4_000_000, 1))
    manifest = write_as(tmp_path / "nws", train, shard_sizes=(1, 4_000_000, 1))
    counts = [shard.n_trainings for shard in manifest.populations["random"].splits["train"].shards]
    assert counts == [1, 3, *[1] * (len(train) - 4)]


class Killed(BaseException):
    """Stands for a process that ends here and cleans nothing up."""


def fail_at(monkeypatch: pytest.MonkeyPatch, step: str, n: int, error: BaseException) -> None:
    """Let the n-th call of os.<step> from now on raise ``error``."""
    real: Callable[..., Any] = getattr(os, step)
    calls = iter(range(1_000_000))

    def failing(*arguments: Any) -> Any:
        if next(calls) == n:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, step, failing)


def interrupt(root: Path, records: list[Path], step: str, n: int, killed: bool) -> bool:
    """Write with the n-th os.<step> failing; return whether there was one. A killed writer cleans nothing up."""
    with pytest.MonkeyPatch.context() as patch:
        fail_at(patch, step, n, Killed() if killed else OSError(errno.ENOSPC, "no space"))
        if killed:
            patch.setattr(atomic, "_discard", lambda temporary: None)
        try:
            write_as(root, records)
        except (Killed, BuildError):
            return True
    return False


def check_state(root: Path, base: Path | None, goal: Path) -> None:
    """The old dataset or the new one is there, complete: it opens, and verify finds that a writer was killed, no more."""
    if base is None and not (root / MANIFEST).exists():
        (problem,) = verify(root).problems
        assert "its build has not finished" in problem and "run the same `nws build` again" in problem
        return
    assert Manifest.load(root) in [Manifest.load(state) for state in (base, goal) if state]
    assert open_dataset(root, "random").vector(0).isfinite().all()
    assert [problem.split(":")[0] for problem in verify(root).problems if "goes on after" not in problem] == (
        [UNFINISHED] if (root / UNFINISHED).exists() else []
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extend", "step", "killed", "n_expected"),
    [
        pytest.param(True, "replace", True, 12, id="killed-extended"),
        pytest.param(False, "replace", False, 12, id="disk full-new"),
        pytest.param(True, "unlink", True, 2, id="killed while cleaning up-extended"),
        pytest.param(False, "replace", True, 12, id="killed-new", marks=pytest.mark.long),
        pytest.param(True, "replace", False, 12, id="disk full-extended", marks=pytest.mark.long),
        pytest.param(False, "unlink", True, 2, id="killed while cleaning up-new", marks=pytest.mark.long),
    ],
)
def test_interrupted_anywhere_and_run_again_gives_the_same_bytes(
    tmp_path: Path, staged: list[Path], extend: bool, step: str, killed: bool, n_expected: int
) -> None:
    base, goal, root = tmp_path / "base", tmp_path / "goal", tmp_path / "nws"
    records = [staged[i] for i in (0, 1, 4, 5)]  # train, test, validation; train
    base.mkdir()
    if extend:
        write_as(base, records[:3])
    shutil.copytree(base, goal)
    write_as(goal, records)
    n_failures, interrupted = 0, True
    while interrupted:
        shutil.copytree(base, root)
        interrupted = interrupt(root, records, step, n_failures, killed)
        check_state(root, base if extend else None, goal)
        write_as(root, records)
        assert contents(root) == contents(goal)
        shutil.rmtree(root)
        n_failures += interrupted
    assert n_failures >= n_expected


def test_leftovers_of_a_larger_interrupted_run_go(
    tmp_path: Path, staged: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, "replace", 7, Killed())
        with pytest.raises(Killed):
            write_as(tmp_path / "nws", staged)
    write_as(tmp_path / "nws", staged[:2])
    write_as(tmp_path / "clean", staged[:2])
    assert contents(tmp_path / "nws") == contents(tmp_path / "clean")


def test_temporary_files_of_killed_writers_go(tmp_path: Path, staged: list[Path]) -> None:
    root = tmp_path / "nws"
    write_as(root, staged[:2])
    before = contents(root)
    for name in (".manifest.json.tmp-1", "weights/random/.train-00001.safetensors.tmp-2", "metadata/random/.x.tmp-3"):
        (root / name).write_bytes(b"half")
    write_as(root, staged[:2])
    assert contents(root) == before


def test_files_of_other_names_in_the_data_folders_stay(tmp_path: Path, staged: list[Path]) -> None:
    root = tmp_path / "nws"
    write_as(root, staged[:2])
    mine = ("weights/mine.safetensors", "weights/random/best.safetensors", "weights/mine/train-00000.safetensors")
    mine = (*mine, "metadata/mine.parquet", "metadata/random/notes.parquet", "weights/mine/.x.tmp-1")
    for name in mine:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("mine")
    manifest = write_as(root, staged[:6])
    assert all((root / name).read_text() == "mine" for name in mine)
    assert any("weights/mine.safetensors: does not belong" in problem for problem in verify(root).problems)
    assert manifest.file_sha256.items() <= contents(root).items()


@pytest.mark.parametrize("link", ["weights", "metadata", "weights/random", "metadata/trainings"])
def test_nothing_behind_a_link_is_written_or_removed(tmp_path: Path, staged: list[Path], link: str) -> None:
    root, elsewhere = tmp_path / "nws", tmp_path / "models"
    write_as(root, staged[:2])
    (root / link).rename(elsewhere)
    (root / link).symlink_to(elsewhere)
    names = ("other.safetensors", "train-00077.safetensors", "train-00000-of-00001-0123456789ab.parquet", ".x.tmp-1")
    for folder in [elsewhere, *(path for path in elsewhere.iterdir() if path.is_dir())]:
        for name in names:
            (folder / name).write_text("theirs")
    before = contents(elsewhere)
    assert len(open_dataset(root, "random")) == 40 and not verify(root).n_damaged  # it can be read
    with pytest.raises(BuildError, match="is a link: a dataset can be read through links, but"):
        write_as(root, staged[:4])
    assert contents(elsewhere) == before


def test_a_link_in_the_place_of_a_leftover_does_not_cost_its_target(tmp_path: Path, staged: list[Path]) -> None:
    root, theirs = tmp_path / "nws", tmp_path / "theirs"
    write_as(root, staged[:2])
    theirs.write_text("theirs")
    link = root / "weights/random/train-00077.safetensors"
    link.symlink_to(theirs)
    write_as(root, staged[:6])
    assert theirs.read_text() == "theirs"


def test_hidden_build_folder_stays(tmp_path: Path) -> None:
    paths = stage(tmp_path / "nws" / ".build" / "staged", "random", range(2))
    write(tmp_path / "nws", "random", paths)
    assert all(path.exists() for path in paths)
    assert verify(tmp_path / "nws").problems == ()


def test_other_content_is_refused_and_left_alone(tmp_path: Path, staged: list[Path]) -> None:
    (tmp_path / "README.md").write_text("my thesis")
    with pytest.raises(BuildError, match=r"holds something else than an NWS dataset \(README.md\)"):
        write_as(tmp_path, staged)
    assert list(tmp_path.iterdir()) == [tmp_path / "README.md"]
    with pytest.raises(BuildError, match=r"README.md is a file"):
        write_as(tmp_path / "README.md", staged)


def test_another_plan_or_other_image_sets_are_refused(tmp_path: Path, staged: list[Path]) -> None:
    root = tmp_path / "nws"
    write_as(root, staged[:2])
    before = contents(root)
    with pytest.raises(BuildError, match="epoch_cap was 40, now 50"):
        write_as(root, staged, plan=PLANS["random"] | {"epoch_cap": 50})
    with pytest.raises(BuildError, match="extra was None, now 1"):
        write_as(root, staged, plan=PLANS["random"] | {"extra": 1})
    for image_sets in (IMAGE_SETS[::-1], IMAGE_SETS[:1], (replace(IMAGE_SETS[0], digest="other"), IMAGE_SETS[1])):
        with pytest.raises(BuildError, match="must come first and unchanged"):
            write_as(root, staged, image_sets=image_sets)
    assert contents(root) == before
    more = (*IMAGE_SETS, replace(IMAGE_SETS[0], name="svhn"))
    assert write_as(root, staged[:2], image_sets=more).image_sets == more


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": {}}, "plan needs build_seed"),
        ({"plan": {"build_seed": 6}}, "does not follow from build seed 6"),
        ({"image_sets": IMAGE_SETS[:1]}, "image set 'digits' is not among mnist"),
        ({"image_sets": IMAGE_SETS * 2}, "must have different names"),
        ({"population": "fixed"}, "random-000000 is not of population fixed"),
        ({"records": []}, "no trainings to write"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, staged: list[Path], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        write_as(tmp_path / "nws", **({"records": staged} | changes))
    assert contents(tmp_path) == {}


def test_records_that_do_not_fit_are_refused(tmp_path: Path, staged: list[Path]) -> None:
    twin = tmp_path / "twin"
    shutil.copy(staged[0], twin)
    with pytest.raises(BuildError, match="random-000000 is staged twice"):
        write_as(tmp_path / "nws", [staged[0], twin])
    write_as(tmp_path / "nws", staged[5:])
    with pytest.raises(BuildError, match="random-000000 comes before training"):
        write_as(tmp_path / "nws", staged)
    other = replace(TrainingRecord.load(staged[5]), seed=1)
    other.save(twin)
    imported = tmp_path / "imported"
    write_as(imported, staged[5:], plan={"build_seed": None})
    with pytest.raises(BuildError, match="seed 1, the dataset's random-000005 has"):
        write_as(imported, [twin], plan={"build_seed": None})


def test_truncated_record_is_named(tmp_path: Path, staged: list[Path]) -> None:
    cut = tmp_path / staged[0].name
    cut.write_bytes(staged[0].read_bytes()[:-4])
    with pytest.raises(FormatError, match=rf"{cut}: not a staged training of NWS: .*not fully covered"):
        write_as(tmp_path / "nws", [cut])


def test_two_writers_do_not_share_a_folder(tmp_path: Path, staged: list[Path]) -> None:
    with exclusive(tmp_path / "nws"), pytest.raises(BuildError, match="another process writes"):
        write_as(tmp_path / "nws", staged)
    write_as(tmp_path / "nws", staged)
    assert (tmp_path / "nws" / MANIFEST).exists()


def test_folder_and_records_given_as_text(tmp_path: Path, staged: list[Path]) -> None:
    manifest = write_as(str(tmp_path / "text"), [str(path) for path in staged[:2]])
    assert manifest == write_as(tmp_path / "path", staged[:2])
    assert check_appendable(str(tmp_path / "text"), "random", PLANS["random"], IMAGE_SETS) == manifest


@pytest.mark.parametrize("damage", ["truncated shard", "missing shard", "edited table"])
def test_a_damaged_dataset_is_not_extended(tmp_path: Path, staged: list[Path], damage: str) -> None:
    root = tmp_path / "nws"
    manifest = write_as(root, staged[:6])
    shard, table = root / manifest.shards[0].path, root / next(iter(manifest.trainings.values()))
    if damage == "truncated shard":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif damage == "missing shard":
        shard.unlink()
    else:
        table.write_bytes(table.read_bytes()[:-1] + b"0")
    before = contents(root)
    for act in (lambda: write_as(root, staged), lambda: check_appendable(root)):
        with pytest.raises(FormatError, match=r"1 files are missing or altered .+ Fetch them again"):
            act()
    assert contents(root) == before
