"""Drift under permutations: none of what does not look at positions, all of what reads one weight's place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.leaderboard.runs.permutations import Drift, format_drifts
from nws_data.cli import main
from nws_data.tasks.metrics import Interval
from tests.baselines.planted import write_planted

TASK = "global/augmentation/threshold=0"
METHODS = """
import numpy as np
from baselines.method import Method

class Sorted(Method):
    def fit(self, task):
        pass

    def predict(self, view):
        low, high = view[:][0].quantile(view[:][0].new_tensor([0.25, 0.75]), dim=1)
        return (high - low > 0.087).long().numpy()

class Place(Method):
    def fit(self, task):
        pass

    def predict(self, view):
        weights = view[:][0]
        return (weights[:, :75].sum(1) > weights[:, 75:150].sum(1)).long().numpy()
"""


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("drift"), ["fixed"])


@pytest.mark.slow
def test_a_place_drifts_and_a_spread_does_not(
    fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(METHODS)
    monkeypatch.chdir(tmp_path)
    command = ["bench", "drift", "--task", TASK, "--data", str(fixed), "--method"]
    assert main([*command, "mine.py:Sorted", "mine.py:Place", "--permutations", "8", "--json"]) == 0
    by_spread, by_place = json.loads(capsys.readouterr().out)
    assert by_spread["accuracy"] == by_spread["permuted"][0] == 1 and by_spread["changed"][0] == 0
    # Filters 0 and 1 of conv1 become any pair of eight: their order changes as often as not.
    changed, low, high = by_place["changed"]
    assert 0.3 < changed < 0.7 and low < changed < high
    assert by_place["n_trainings"] == 10 and by_place["n_permutations"] == 8


def test_the_table_is_in_percent() -> None:
    drift = Drift(
        task="global/optimizer",
        method="mine",
        n_trainings=9,
        n_permutations=5,
        accuracy=0.6,
        permuted=Interval(0.5, 0.25, 0.75),
        changed=Interval(0.1, 0.0, 0.2),
    )
    text = format_drifts([drift])
    assert "60.0" in text and "50.0 [25.0, 75.0]" in text and "10.0 [0.0, 20.0]" in text and "over 5 random orders" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", TASK, "--method", "majority", "--permutations", "0"], "at least 1"),
        (["--task", "regress/learning_rate", "--method", "majority"], "classes told from whole vectors"),
        (["--task", "global/optimizer", "--method", "majority"], "not available"),
    ],
)
def test_what_makes_no_sense(fixed: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["bench", "drift", "--data", str(fixed), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_unfit_tasks_are_refused_before_any_fit(fixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(METHODS.replace("pass", "print('fit')"))
    call = ["--data", str(fixed), "--method", f"{tmp_path}/mine.py:Sorted", "--task", TASK]
    assert main(["bench", "drift", *call, "regress/learning_rate"]) == 2
    out, error = capsys.readouterr()
    assert "classes told from whole vectors" in " ".join(error.split()) and "fit" not in out
    assert main(["bench", "leaks", *call, "regress/learning_rate"]) == 2
    out, error = capsys.readouterr()
    assert "regression tasks are not permuted" in " ".join(error.split()) and "fit" not in out


def test_labels_and_scores_are_both_taken() -> None:
    from benchmarks.leaderboard.runs.permutations import _labels

    np.testing.assert_array_equal(_labels(np.array([[0.1, 0.9], [0.8, 0.2]])), [1, 0])
    np.testing.assert_array_equal(_labels(np.array([2, 1])), [2, 1])
