"""Permuted labels bring honest methods to chance, and catch one that has seen the answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.leaderboard.runs.permutations import check, format_checks
from nws_data.cli import main

TASK = "local/dataset@100"
CHEAT = """
import numpy as np
from baselines.method import Method

class Cheat(Method):
    def fit(self, task):
        self.target, self.classes = task.target, task.classes

    def predict(self, view):
        return np.array([self.classes.index(value) for value in view.data[self.target][view.rows]])
"""


def test_by_hand():
    found = check("local/optimizer", "mine", 0.25, [0.2, 0.3, 0.4])
    assert found.mean == pytest.approx(0.3) and found.high - found.mean == pytest.approx(
        4.302653 * 0.1 / 3**0.5, abs=1e-6
    )  # t
    assert found.at_chance and not check("local/optimizer", "mine", 0.25, [0.5, 0.5, 0.6]).at_chance
    assert check("local/optimizer", "majority", 1 / 3, [1 / 3] * 4).at_chance
    below = check("local/optimizer", "mine", 0.25, [0.1, 0.1, 0.11])
    assert "below chance" in format_checks([below]) and "0 of 1" in format_checks([below])


@pytest.mark.slow
def test_an_honest_method_falls_to_chance_and_a_cheat_does_not(dataset: Path, tmp_path, monkeypatch, capsys):
    """The weights' sign tells the image set: without permutation the svm has all right."""
    (tmp_path / "cheat.py").write_text(CHEAT)
    monkeypatch.chdir(tmp_path)
    names = ["logistic-16", "majority", "cheat.py:Cheat"]
    command = ["bench", "leaks", "--task", TASK, "--method", *names, "--data", str(dataset), "--permutations", "12"]
    assert main([*command, "--json"]) == 0
    honest, majority, cheat = json.loads(capsys.readouterr().out)
    assert honest["at_chance"] and majority["at_chance"] and np.ptp(honest["accuracies"]) > 0.2
    assert not cheat["at_chance"] and cheat["mean"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", TASK, "--method", "majority", "--permutations", "1"], "at least 2"),
        (["--task", "global/optimizer", "--method", "majority"], "not available"),
        (["--task", TASK, "--method", "svm-rbf-480"], "none of these methods fits"),
        (["--task", "regress-local/learning_rate", "--method", "majority"], "regression tasks are not permuted"),
    ],
)
def test_what_makes_no_sense(dataset: Path, capsys, arguments, message):
    assert main(["bench", "leaks", "--data", str(dataset), *arguments]) == 2
    assert message in capsys.readouterr().err
