"""Snapshots of a dataset, evaluated again from their weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nws_data
from builders.images.arrays import limit_images
from builders.images.sources import load_images
from builders.recipe.augmentation import to_float
from builders.rescore import rescore
from nws_data.cli import main
from nws_data.errors import BuildError
from nws_data.hashing import sha256_of
from tests.builders.builds import IMAGES, built
from tests.nws_data.format.forging import seal


@pytest.fixture(scope="module")
def dataset() -> Path:
    return built(trainings={"fixed": 4, "random": 3})


@pytest.mark.slow
def test_recorded_accuracies_follow_from_the_weights(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(dataset), "--rescore", "60"]) == 0
    assert "60 of 60 snapshots, as live networks, have the recorded test accuracy" in capsys.readouterr().out


def test_numbers_are_those_of_a_float64_network(dataset: Path) -> None:
    images = limit_images(load_images("digits"), IMAGES.n_train, IMAGES.n_test)
    raw, labels = torch.from_numpy(np.ascontiguousarray(images.test_images)), torch.from_numpy(images.test_labels)
    found = rescore(dataset, 12)
    assert {item.training.partition("-")[0] for item in found} == {"fixed", "random"}
    for item in found:
        data = nws_data.open(dataset, item.training.partition("-")[0]).select(training=item.training)  # type: ignore[arg-type]
        with torch.no_grad():
            outputs = data.model(item.snapshot).double()(to_float(raw, torch.float64))
        assert abs(int((outputs.argmax(1) == labels).sum()) - item.n_right) <= item.n_close
        assert item.n_images == 50 and item.n_recorded == round(data["test_accuracy"][item.snapshot] * 50)


def test_the_choice_follows_from_the_seed(dataset: Path) -> None:
    chosen = [[(item.training, item.snapshot) for item in rescore(dataset, 5, seed=seed)] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_other_accuracies_are_found(dataset: Path) -> None:
    right = rescore(dataset, 8)[0]
    assert right.agrees
    assert not replace(right, n_recorded=right.n_right + right.n_close + 1).agrees
    assert not replace(right, n_recorded=right.n_right - right.n_close - 1).agrees


def test_wrong_weights_are_found(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two halves of a shard's values change places, and all checksums are made right again."""
    root = Path(shutil.copytree(dataset, tmp_path / "nws"))
    shard = next((root / "weights/fixed").glob("train-*.safetensors"))
    raw = bytearray(shard.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    values = np.frombuffer(raw, np.float32, offset=start)
    values[:] = values[::-1].copy()
    shard.write_bytes(raw)
    seal(root, {shard.relative_to(root).as_posix(): sha256_of(bytes(raw))})
    assert main(["verify", str(root), "--rescore", "40", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and not all(item["agrees"] for item in report["rescored"])


def test_what_cannot_be_rescored_is_said(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="at least 1 snapshot, got 0"):
        rescore(dataset, 0)
    with pytest.raises(BuildError, match="is not among --images"):
        rescore(dataset, 1, ["mnist"])
    root = Path(shutil.copytree(dataset, tmp_path / "nws"))
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["populations"]["fixed"]["plan"]["evaluation"] = "original-2020"
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match="measured as original-2020, on augmented images"):
        rescore(root, 1)
