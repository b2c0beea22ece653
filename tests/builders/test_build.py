"""Builds as a user runs them: interrupted, resumed, extended, on one worker or two, and refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nws_data
from builders.build import build
from builders.cli import config_of
from builders.images.prepare import ImageOptions
from builders.plan.jobs import make_jobs
from builders.plan.trainings import plan_trainings
from builders.run.worker import WorkerSettings, run_job
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import Manifest
from tests.builders import builds
from tests.builders.builds import IMAGES, SEED, config, interrupt, start_build, wait_for
from tests.crash.compare import differences


def vectors(root: Path) -> dict[str, np.ndarray]:
    data = nws_data.open(root)
    return {
        f"{name}/{snapshot}": data.vector(i).numpy()
        for i, (name, snapshot) in enumerate(zip(data["training"], data["snapshot"], strict=True))
    }


@pytest.fixture(scope="module")
def built() -> Path:
    return builds.built()


def test_a_build_is_sound_and_leaves_nothing_behind(built):
    report = verify(built)
    assert report.ok, report.problems
    assert report.n_trainings == 4
    assert sorted(path.name for path in built.iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "croissant.json",
        "manifest.json",
        "metadata",
        "trainings.svg",
        "weights",
    ]
    data = nws_data.open(built)
    assert len(data) == 80
    table = data.trainings()
    assert sorted(table["training"]) == [f"fixed-{i:06d}" for i in range(4)]
    assert (table["n_epochs"] == 19).all()
    assert set(table["compute_path"]) == {Manifest.load(built).populations["fixed"].plan["compute_path"]}


@pytest.mark.slow
def test_one_worker_gives_the_same_bytes(built, tmp_path):
    build(config(tmp_path / "nws", workers=1))
    assert differences(tmp_path / "nws", built) == []


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    """What Ctrl-C leaves of a build of which a training or two are finished, others than the first."""
    out = tmp_path_factory.mktemp("interrupted") / "nws"
    process = start_build(out)
    wait_for(process, "fixed-00000[123].safetensors", out / ".build" / "trainings")
    interrupt(process)
    return out


@pytest.fixture
def interrupted(ended, tmp_path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "nws"))


@pytest.mark.slow
def test_an_interrupted_build_goes_on_to_the_same_bytes(built, interrupted):
    out, staging = interrupted, interrupted / ".build" / "trainings"
    kept = len(list(staging.glob("fixed-*.safetensors")))
    assert 1 <= kept < 4
    assert not (out / "manifest.json").exists()
    (report,) = build(config(out))
    assert report.n_new == 4 - kept
    assert differences(out, built) == []


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.05, pytest.param(0.8, marks=pytest.mark.long)])
def test_an_interrupt_while_workers_start_is_quiet_and_leaves_nothing(tmp_path, delay_s):
    out = tmp_path / "nws"
    process = start_build(out)
    wait_for(process, "plans.json", out / ".build")
    time.sleep(delay_s)
    interrupt(process)
    assert not out.exists()


def test_a_build_killed_at_its_very_end_is_completed_by_the_same_command(built, tmp_path):
    copy = tmp_path / "nws"
    shutil.copytree(built, copy)
    staged = copy / ".build" / "trainings" / "fixed-000003.safetensors"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"stands in a shard already")
    plans = {"fixed": Manifest.load(copy).populations["fixed"].plan}
    (copy / ".build" / "plans.json").write_text(json.dumps(plans))
    for left in (copy / ".nws-unfinished", copy / "metadata" / "fixed" / "train-00000-of-00001-0123456789ab.parquet"):
        left.write_bytes(b"")
    assert not verify(copy).ok
    (report,) = build(config(copy))
    assert report.n_new == 0
    assert verify(copy).ok, verify(copy).problems
    assert differences(copy, built) == []


@pytest.mark.parametrize("lost", ["shard", "table", "manifest"])
def test_a_damaged_dataset_is_refused_before_any_work(built, tmp_path, lost):
    copy = Path(shutil.copytree(built, tmp_path / "nws"))
    manifest = Manifest.load(copy)
    name = {"shard": manifest.shards[0].path, "table": manifest.provenance, "manifest": "manifest.json"}[lost]
    (copy / name).write_bytes((copy / name).read_bytes()[:-9])
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    expected = "not a readable manifest" if lost == "manifest" else rf"damaged: 1 files .+{name}.+`nws pull`.+new folder"
    for n in (4, 5):
        with pytest.raises(FormatError, match=expected):
            build(config(copy, n))
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    (copy / name).write_bytes((built / name).read_bytes())  # fetched again
    build(config(copy))
    assert differences(copy, built) == []


def test_more_images_after_too_few_is_another_plan(tmp_path):
    with pytest.raises(BuildError, match="use more images"):
        build(config(tmp_path / "nws", seed=0))
    assert not (tmp_path / "nws").exists()


@pytest.mark.slow
def test_a_damaged_staged_training_is_trained_again(built, interrupted):
    staged = next((interrupted / ".build" / "trainings").glob("fixed-*.safetensors"))
    content = bytearray(staged.read_bytes())
    content[-1000] ^= 4
    staged.write_bytes(content)
    build(config(interrupted))
    assert differences(interrupted, built) == []


@pytest.mark.slow
def test_workers_that_are_killed_at_once_are_reported_and_the_build_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.run.local.run_worker", _killed_worker)
    with pytest.raises(BuildError, match=r"a worker without a job was lost 4 times.*run the same command again"):
        build(config(tmp_path / "nws", fixed=1, workers=1))
    monkeypatch.undo()
    build(config(tmp_path / "nws", fixed=1))
    assert differences(tmp_path / "nws", builds.built(fixed=1)) == []


def _killed_worker(connection, settings):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_an_extended_dataset_holds_the_trainings_of_a_larger_build(built, tmp_path):
    extended, at_once = tmp_path / "extended" / "nws", builds.built(fixed=6)
    shutil.copytree(built, extended)
    (report,) = build(config(extended, fixed=6))
    assert (report.n_trainings, report.n_new) == (6, 2)
    assert verify(extended).ok
    for shard in (built / "weights").rglob("*.safetensors"):
        assert shard.read_bytes() == (extended / shard.relative_to(built)).read_bytes()
    one, other = vectors(extended), vectors(at_once)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_nothing_to_do_and_fewer_trainings(built, tmp_path):
    copy = tmp_path / "nws"
    shutil.copytree(built, copy)
    (report,) = build(config(copy))
    assert report.n_new == 0
    assert differences(copy, built) == []
    with pytest.raises(BuildError, match="holds 4 trainings of fixed already, more than the 3"):
        build(config(copy, fixed=3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, "build_seed"),
        ({"epoch_cap": 25}, "epoch_cap"),
        ({"images": replace(IMAGES, n_train=200)}, "image"),
        ({"batch_norm": False}, "batch_norm"),
        ({"precision": "bfloat16"}, "precision"),
    ],
)
def test_a_dataset_of_another_plan_is_refused(built, tmp_path, changes, message):
    copy = tmp_path / "nws"
    shutil.copytree(built, copy)
    with pytest.raises(BuildError, match=message):
        build(config(copy, fixed=6, **changes))
    shutil.rmtree(copy / ".build", ignore_errors=True)
    assert differences(copy, built) == []


def test_both_populations_stand_in_one_folder(built, tmp_path):
    copy = tmp_path / "nws"
    shutil.copytree(built, copy)
    build(config(copy, trainings={"random": 2}))
    assert verify(copy).ok
    assert Manifest.load(copy).populations.keys() == {"fixed", "random"}
    for shard in (built / "weights").rglob("*.safetensors"):
        assert shard.read_bytes() == (copy / shard.relative_to(built)).read_bytes()


@pytest.mark.slow
def test_finished_trainings_of_an_interrupted_build_outlive_other_builds(built, interrupted):
    out, staging = interrupted, interrupted / ".build" / "trainings"
    kept = {path.name for path in staging.iterdir() if path.suffix == ".safetensors"}
    build(config(out, trainings={"random": 1}))
    assert {path.name for path in staging.iterdir()} >= kept
    build(config(out, fixed=1))
    assert {path.name for path in staging.iterdir()} == kept - {"fixed-000000.safetensors"}
    assert verify(out).ok
    (report,) = build(config(out))
    assert report.n_new == 3 - len(kept - {"fixed-000000.safetensors"})
    assert not (out / ".build").exists()
    assert verify(out).ok
    one, other = vectors(out), vectors(built)
    assert all(np.array_equal(one[key], other[key]) for key in other)


def test_a_foreign_folder_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BuildError, match="holds something else"):
        build(config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_too_few_images_for_the_batch_size_are_refused_before_training(tmp_path):
    with pytest.raises(BuildError, match=r"too few images \(30,.*use more images, \d\d of each class are enough$"):
        build(config(tmp_path / "nws", images=replace(IMAGES, n_train=30)))
    assert not (tmp_path / "nws").exists()


def test_a_full_disk_stops_the_worker_and_leaves_no_half_training(built, tmp_path, monkeypatch):
    from builders.images.arrays import limit_images
    from builders.images.bank import write_bank
    from builders.images.sources import load_images

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_bank(tmp_path / "images", [limit_images(load_images("digits"), 120, 50)])
    staging = tmp_path / "trainings"
    staging.mkdir()
    job = make_jobs(plan_trainings("fixed", 1, SEED, ["digits"]))[0]
    settings = WorkerSettings(tmp_path / "images", staging, 19, "float32", "cpu", "native")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(BuildError, match=r"(?i)no space left"):
        list(run_job(job, settings))
    assert list(staging.iterdir()) == []


def test_command_line_errors_are_one_line_with_status_2(tmp_path, capsys):
    assert (
        main(["build", "--population", "fixed", "--trainings", "2", "--images", "mnits", "--out", str(tmp_path / "nws")])
        == 2
    )
    message = capsys.readouterr().err
    assert "mnits" in message
    assert "fashion_mnist" in message
    assert not (tmp_path / "nws").exists()
    assert main(["build", "--population", "fixed", "--trainings", "2", "--images", "digits", "--epoch-cap", "18"]) == 2
    assert "at least 19" in capsys.readouterr().err


def test_a_preset_can_be_narrowed():
    import argparse

    from builders.cli import add_commands

    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = config_of(parser.parse_args(["build", "--preset", "quickstart", "--population", "fixed", "--trainings", "5"]))
    assert parsed.trainings == {"fixed": 5}
    assert parsed.images == ImageOptions(sources=("digits",), n_train=440, n_test=200)
    assert parsed.epoch_cap == 19


@pytest.mark.parametrize(("free", "said"), [(10**8, True), (10**10, False)])
def test_a_build_says_when_its_workers_may_lack_memory(tmp_path, monkeypatch, capsys, free, said):
    out = Path(shutil.copytree(builds.built(fixed=1), tmp_path / "nws"))  # nothing to do, and said all the same
    monkeypatch.setattr("builders.build.available_memory", lambda: free)
    build(config(out, fixed=1))
    notice = (
        "2 workers and the images may need 0.6 GB of memory, 0.1 GB are free: if workers get killed, give fewer --workers"
    )
    assert (notice in capsys.readouterr().err) == said


@pytest.mark.parametrize(("backend", "said"), [(None, True), ("plain", False)])
def test_without_a_compiler_the_build_says_how_it_computes(tmp_path, monkeypatch, capsys, backend, said):
    monkeypatch.setattr("builders.compute.backend.load_library", lambda: None)
    with pytest.raises(BuildError, match="too few images"):  # which comes next
        build(config(tmp_path / "nws", backend=backend, images=replace(IMAGES, n_train=30)))
    assert ("no C compiler works here" in capsys.readouterr().err) == said
