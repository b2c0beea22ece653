"""A training that is trained again from its id."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nws_data
from builders.build import build
from builders.images.arrays import limit_images, recorded_limits
from builders.images.sources import load_images
from builders.rebuild import _check_origin, images_of, rebuild
from nws_data.cli import main
from nws_data.convert.subset import subset
from nws_data.errors import BuildError, SelectionError
from nws_data.format.manifest import Manifest
from nws_data.format.records import TrainingRecord
from tests.builders.builds import IMAGES, built, config
from tests.processes import nws


@pytest.fixture(scope="module")
def dataset():
    return built()


@pytest.fixture(scope="module")
def bfloat16():
    """Both populations, products in bfloat16."""
    return built(precision="bfloat16", trainings={"fixed": 2, "random": 2})


def changed(folder: Path, **stored) -> Path:
    """Return the dataset's manifest rewritten with other entries of its plan."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["populations"]["fixed"]["plan"] |= stored
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def copy(dataset, tmp_path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "nws"))


def test_the_id_is_enough(dataset, tmp_path, capsys):
    out = tmp_path / "again.safetensors"
    assert main(["rebuild", "fixed-000000", str(dataset), "--out", str(out)]) == 0
    assert "fixed-000000: identical, bit for bit: all snapshots and learning curves" in capsys.readouterr().out
    stored = nws_data.open(dataset).select(training="fixed-000000")
    assert np.array_equal(TrainingRecord.load(out).weights, [stored.vector(i).numpy() for i in range(20)])


def test_the_snapshots_that_are_there_are_compared(dataset, tmp_path, capsys):
    subset(dataset, tmp_path / "nws", populations=["fixed"], snapshots=[10, 19])
    assert main(["rebuild", "fixed-000000", str(tmp_path / "nws")]) == 0
    assert "identical, bit for bit: snapshots 10, 19 and learning curves" in capsys.readouterr().out
    with pytest.raises(
        BuildError, match="holds snapshots 10, 19 of each training, so trainings with all 20 snapshots cannot"
    ):
        build(config(tmp_path / "nws", trainings={"fixed": 9}))


@pytest.mark.parametrize("training", ["fixed-000001", "random-000000", "random-000001"])
def test_a_rebuilt_training_is_identical_in_bfloat16(bfloat16, training):
    report = rebuild(bfloat16, training, IMAGES)
    assert report.identical
    assert (report.first_different, report.n_different, report.largest_difference) == (None, 0, 0.0)


@pytest.mark.slow
def test_a_rebuilt_random_training_is_identical_in_float32():
    assert rebuild(built(trainings={"fixed": 4, "random": 3}), "random-000002", IMAGES).identical


def test_one_flipped_bit_is_found(copy, capsys):
    shard = Manifest.load(copy).populations["fixed"].splits["train"].shards[0]
    content = bytearray((copy / shard.path).read_bytes())
    content[-4] ^= 0x01  # the lowest bit of the last value of the last snapshot
    (copy / shard.path).write_bytes(content)
    assert main(["rebuild", "fixed-000000", str(copy), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["result"], found["first_different"], found["n_different"]) == ("different", 19, 1)
    assert 0 < found["largest_difference"] < 1e-6
    assert found["same_curves"]


def test_a_training_that_is_not_there(dataset):
    with pytest.raises(SelectionError, match=r"holds no training fixed-000017; .nws info"):
        rebuild(dataset, "fixed-000017", IMAGES)
    with pytest.raises(SelectionError, match="not a training id"):
        rebuild(dataset, "17", IMAGES)


def test_other_images(dataset, tmp_path):
    with pytest.raises(BuildError, match="differs: is it another file, or another number of images"):
        rebuild(dataset, "fixed-000000", replace(IMAGES, n_train=130))
    with pytest.raises(BuildError, match=r"image set digits .* is not among --images"):
        rebuild(dataset, "fixed-000000", replace(IMAGES, sources=("mnist",)))


def test_another_way_of_computing(dataset, monkeypatch, capsys):
    monkeypatch.setattr("builders.rebuild.path_of", lambda backend, precision: "cpu-native-1/ABACUS")
    assert main(["rebuild", "fixed-000000", str(dataset), "--json"]) == 2
    printed = capsys.readouterr()
    assert "was made with path cpu-" in printed.err and "here it is cpu-native-1/ABACUS" in printed.err
    assert json.loads(printed.out)["result"] == "cannot"
    monkeypatch.undo()
    monkeypatch.setattr("torch.__version__", "1.0")
    with pytest.raises(BuildError, match=r"was made with torch 2\..*, here it is 1.0: install that version"):
        rebuild(dataset, "fixed-000000", IMAGES)


PLAN = {"build_seed": 0, "precision": "float32"}


@pytest.mark.parametrize("path", ["cpu-fleet-1/AVX512", "cpu-fleet-2/AVX512+bf16"])
def test_a_path_of_earlier_versions(path):
    stored = {"compute_path": path, "device": "cpu", "torch_version": torch.__version__}
    with pytest.raises(
        BuildError, match=f"computed on path {re.escape(path)}, which this version does not compute any more"
    ):
        _check_origin("fixed-000000", PLAN, stored)


def test_a_card_that_is_not_here(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    stored = {
        "compute_path": "cuda-fleet-3/triton/H100/float32",
        "device": "NVIDIA H100",
        "torch_version": torch.__version__,
    }
    with pytest.raises(BuildError, match=r"was computed on NVIDIA H100 .*; torch finds no GPU here; use such a machine"):
        _check_origin("fixed-000000", PLAN, stored)


def test_another_plan(copy):
    with pytest.raises(BuildError, match="was made with sampling 99, here it is 1: use the version that built it"):
        rebuild(changed(copy, sampling=99), "fixed-000000", IMAGES)
    with pytest.raises(BuildError, match="was made with generator dice"):
        rebuild(changed(copy, sampling=1, generator="dice"), "fixed-000000", IMAGES)
    plan = Manifest.load(copy).populations["fixed"].plan
    with pytest.raises(BuildError, match=r"its plan draws .*seed .*the dataset says .*nws verify"):
        rebuild(changed(copy, **plan | {"generator": "philox4x32-10/1", "build_seed": 1}), "fixed-000000", IMAGES)
    with pytest.raises(BuildError, match="was imported: no plan says how"):
        rebuild(changed(copy, build_seed=None), "fixed-000000", IMAGES)


def test_images_are_found_as_recorded(dataset, tmp_path):
    assert images_of(dataset, "fixed-000001") == IMAGES
    arrays = load_images("digits")
    for limits in ((None, None), (100, None), (None, 30), (100, 30)):
        assert recorded_limits(limit_images(arrays, *limits).source) == limits


@pytest.mark.slow
def test_somebodys_own_images_must_be_named(tmp_path):
    arrays = limit_images(load_images("digits"), 120, 50)
    np.savez(
        tmp_path / "mine.npz",
        train_images=arrays.train_images,
        train_labels=arrays.train_labels,
        test_images=arrays.test_images,
        test_labels=arrays.test_labels,
    )
    root, source = tmp_path / "nws", f"mine={tmp_path / 'mine.npz'}"
    build(config(root, fixed=1, images=replace(IMAGES, sources=(source,), n_train=None, n_test=None)))
    with pytest.raises(BuildError, match=r"a set of your own; say where it is: --images mine=FILE.npz"):
        images_of(root, "fixed-000000")
    assert main(["rebuild", "fixed-000000", str(root), "--images", source]) == 0


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(dataset, tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = nws("rebuild", "fixed-000000", str(dataset), environment=environment, nice=5)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("nws-rebuild-*/images/bank.json")):
        assert not process.ended() and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert "interrupted" in process.printed() and "Traceback" not in process.printed()
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_progress_is_lines(dataset, capsys):
    assert rebuild(dataset, "fixed-000000", IMAGES).identical
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(re.fullmatch(r"fixed-000000: [01]/1 trainings.*", line) for line in lines)
