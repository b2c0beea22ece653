"""The comparison of precisions: a dataset with itself shows no shift, two plans are refused."""

from __future__ import annotations

import json

import pytest

import nws_data
from benchmarks import precision_shift
from nws_data.errors import SelectionError
from tests.baselines.planted import write_planted


@pytest.mark.slow
def test_a_dataset_with_itself_shows_no_shift(tmp_path, capsys):
    root = str(write_planted(tmp_path, ["fixed"]))
    precision_shift.main([root, root, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["accuracies"]["difference"] == report["accuracies"]["standard_error"] == 0.0
    assert report["accuracies"]["mean_a"] == report["accuracies"]["mean_b"] > 0
    first, second = report["conv_biases"]
    assert first == second and set(first) <= {"adam", "rmsprop", "momentum"}
    assert all(value > 0 for layers in first.values() for value in layers.values())
    for scores in report["transfer"].values():
        assert scores[0][0] == scores[0][1] == scores[1][0] == scores[1][1]
        assert 0 < scores[0][0] <= 1
    assert "trained on (rows)" in precision_shift.render(report)


def test_differences_are_those_of_the_same_trainings(tiny_dataset):
    data = nws_data.open(tiny_dataset.root, "fixed")
    half = data.select(training=list(dict.fromkeys(data["training"]))[:3])
    found = precision_shift.accuracies(data, half)
    assert found["trainings"] == 3 and found["difference"] == 0.0


def test_other_trainings_are_refused(tiny_dataset, monkeypatch):
    opened = iter([nws_data.open(tiny_dataset.root, "fixed")] * 2)
    shorter = nws_data.open(tiny_dataset.root, "fixed")
    shorter = shorter.select(training=shorter["training"][0])
    monkeypatch.setattr(precision_shift.nws_data, "open", lambda *where: next(opened) if where[0] == "a" else shorter)
    with pytest.raises(SelectionError, match="different trainings"):
        precision_shift.compare(["a", "b"])
