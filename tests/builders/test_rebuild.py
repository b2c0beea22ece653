"""A training that is trained again from its id."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from builders.build import build
from builders.rebuild import rebuild
from nws_data.cli import main
from nws_data.errors import BuildError, SelectionError
from nws_data.storage.manifest import Manifest
from tests.builders.test_build import IMAGES, config


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("rebuild") / "nws"
    build(config(root, fixed=2))
    return root


def test_a_rebuilt_training_is_identical(dataset, capsys):
    report = rebuild(dataset, "fixed-000001", IMAGES)
    assert report.identical
    assert (report.first_different, report.largest_difference) == (None, 0.0)
    options = ["--images", "digits", "--train-images", "120", "--test-images", "50"]
    assert main(["rebuild", "fixed-000000", str(dataset), *options]) == 0
    assert "identical, bit for bit" in capsys.readouterr().out


def test_a_changed_weight_is_found(dataset, tmp_path):
    copy = tmp_path / "nws"
    shutil.copytree(dataset, copy)
    shard = Manifest.load(copy).populations["fixed"].splits["train"].shards[0]
    content = bytearray((copy / shard.path).read_bytes())
    content[-1] ^= 0x01  # the last value of the last snapshot
    (copy / shard.path).write_bytes(content)
    report = rebuild(copy, "fixed-000000", IMAGES)
    assert report.first_different == 19
    assert report.same_curves
    assert not report.identical


def test_what_cannot_be_rebuilt_says_why(dataset, monkeypatch):
    with pytest.raises(SelectionError, match=r"holds no training fixed-000017; .nws info"):
        rebuild(dataset, "fixed-000017", IMAGES)
    with pytest.raises(SelectionError, match="not a training id"):
        rebuild(dataset, "17", IMAGES)
    with pytest.raises(BuildError, match="differs: give the same --train-images"):
        rebuild(dataset, "fixed-000000", replace(IMAGES, n_train=130))
    monkeypatch.setattr("builders.rebuild.compute_path", lambda: "cpu-fleet-9/ABACUS")
    with pytest.raises(BuildError, match=r"was computed on path .*, this machine has cpu-fleet-9/ABACUS"):
        rebuild(dataset, "fixed-000000", IMAGES)
