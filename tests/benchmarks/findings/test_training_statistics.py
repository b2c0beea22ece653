"""The picture and table of how trainings went, of a small dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nws_data
from benchmarks.findings.training_statistics import accuracy_table, draw_training_statistics, format_accuracy_table
from nws_data.space.hyperparameters import CLASSES
from tests.conftest import TinyDataset


def test_the_table_has_means_and_counts_of_every_combination(tiny_dataset: TinyDataset) -> None:
    trainings = nws_data.open(tiny_dataset.root, "random").trainings()
    means, counts = accuracy_table(trainings)
    assert counts.to_numpy().sum() == len(trainings) == 24
    for name in CLASSES["initialization"]:
        for activation in CLASSES["activation"]:
            rows = [r for _, r in trainings.iterrows() if (r["initialization"], r["activation"]) == (name, activation)]
            assert counts.loc[name, activation] == len(rows)
            if rows:
                assert means.loc[name, activation] == pytest.approx(np.mean([r["final_test_accuracy"] for r in rows]))
            else:
                assert np.isnan(means.loc[name, activation])


def test_the_text_shows_counts_and_dashes(tiny_dataset: TinyDataset) -> None:
    trainings = nws_data.open(tiny_dataset.root, "fixed").trainings()
    trainings = trainings[trainings.index < 1].assign(
        initialization="constant", activation="elu", final_test_accuracy=0.123, test_accuracy=[np.array([0.1, 0.123])]
    )
    header, first, *others = format_accuracy_table(trainings)
    assert header.split() == list(CLASSES["activation"])
    assert first.split() == ["constant", "-", "12", "(1)", "-", "-"]
    assert [line.split()[1:] for line in others] == [["-"] * 4] * 3


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture_of_any_dataset(tiny_dataset: TinyDataset, tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"picture.{suffix}"
    draw_training_statistics(nws_data.open(tiny_dataset.root, "random").trainings(), path)
    assert path.read_bytes().startswith(start)


def test_the_command(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.findings.training_statistics", str(tiny_dataset.root)]
    out = tmp_path / "fixed.png"
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert out.is_file() and done.stdout.endswith(f"Picture: {out}\n") and "glorot_normal" in done.stdout
