"""``nws quickstart``: its words against its result files, run for real at a smaller size, and its verdicts."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks import quickstart
from benchmarks.leaderboard.files.results import Result
from benchmarks.quickstart import TRIVIAL, Reading
from builders.config import PRESETS
from builders.images.prepare import ImageOptions
from nws_data.cli import main
from nws_data.format.describe import align
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import parse_task

SMALL = {
    "trainings": {"fixed": 18},
    "images": ImageOptions(sources=("digits",), n_train=120, n_test=50),
    "epoch_cap": 19,
    "seed": 404_191,
}
"""The seed's first 18 trainings have batches of at most 64, so that few images are enough, and both values of augmentation
often enough in each of the five folds."""

SMALL_TASKS = {
    "global/augmentation/threshold=0": "boosting-480",
    "global/dataset/threshold=0": "boosting-16",
}
"""The first has two classes, of which so few trainings have enough; the second is not available."""


def score(right: list[int], n_items: int = 1) -> ClassificationScore:
    """A score of four balanced classes, with the right items of each training."""
    confusion = [[0] * 4 for _ in range(4)]
    for i, n in enumerate(right):
        confusion[i % 4][i % 4] += n
        confusion[i % 4][(i + 1) % 4] += n_items - n
    ids = [f"fixed-{i:06d}" for i in range(len(right))]
    return ClassificationScore.from_counts(["a", "b", "c", "d"], confusion, ids, [n_items] * len(right), right)


def words(weights: ClassificationScore, others: ClassificationScore, name: str = "global/activation") -> str:
    return Reading(parse_task(name), weights, others).words()


def test_weights_that_tell() -> None:
    text = words(score([1] * 36 + [0] * 4), score([1] * 10 + [0] * 30))
    assert text == (
        "All weights give the activation of 36 of 40 networks: 90 % "
        "(95 % interval 77 to 96; guessing 25, other hyper-parameters 25): so the weights tell it."
    )


def test_an_interval_that_includes_chance_is_called_so() -> None:
    assert words(score([1] * 14 + [0] * 26), score([0] * 40)).endswith("not clearly above chance.")


def test_what_the_other_hyper_parameters_tell_as_well() -> None:
    text = words(score([1] * 24 + [0] * 16), score([1] * 24 + [0] * 16))
    assert text.endswith("above chance, but not clearly above the other hyper-parameters.")


def test_the_widest_row_fits_a_terminal() -> None:
    reading = Reading(parse_task("local/initialization"), score([10] * 40, n_items=10), score([10] * 40, n_items=10))
    assert all(3 + len(line) <= 80 for line in align([quickstart.HEADER, reading.row()]))


def test_windows_are_not_called_networks() -> None:
    text = words(score([9] * 20, n_items=10), score([2] * 20, n_items=10), "local/activation")
    assert text.startswith("5,000 weights give the activation of 180 of 200 windows of 20 networks: 90 %")


@pytest.mark.slow
def test_a_small_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "quickstart", SMALL)
    monkeypatch.setattr(quickstart, "TASKS", SMALL_TASKS)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert main(["quickstart"]) == 1
    printed, complaints = capsys.readouterr()
    assert "global/dataset/threshold=0/fold=0 is not available: dataset has one value in this dataset" in complaints
    assert len(printed.splitlines()) <= 40 and max(map(len, printed.splitlines())) <= 80
    assert not re.search(r"[0-9a-f]{12}", printed)  # no hashes
    _check_words(printed, tmp_path / "nws-results")
    assert (tmp_path / "nws-quickstart.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "nws-results" / "board.html").is_file()
    (line,) = (line for line in printed.splitlines() if line.startswith("Next: "))
    commands = line.removeprefix("Next: ").split("; ")
    for command in commands:
        program, *arguments = command.split()
        assert program == "nws" and main(arguments) == 0, command
    capsys.readouterr()
    assert main(["quickstart"]) == 1  # goes on: nothing is left to do
    assert capsys.readouterr().out.splitlines()[:-1] == printed.splitlines()[:-1]


def _check_words(printed: str, results: Path) -> None:
    """Compare every number of the last words with the summary that the result files hold."""
    text = " ".join(printed[printed.index("What this shows") :].split())
    found = re.findall(r"the (\w+) of (\d+) of (\d+) .*?: (\d+) % \(95 % interval (\d+) to (\d+); .*?(\d+),.*?(\d+)\)", text)
    assert len(found) == 1
    saved = [Result.load(path) for path in results.rglob("*.json")]
    by_name = {(result.task, result.method): result for result in saved}
    for (task, method), (target, *numbers) in zip(SMALL_TASKS.items(), found, strict=False):
        weights, trivial = by_name[task, method], by_name[task, TRIVIAL]
        assert (weights.folds, weights.seeds) == (5, (0,))
        summary, run = weights.summary["accuracy"], weights.runs[0].score
        assert isinstance(run, ClassificationScore)
        shares = [
            summary["mean"],
            summary["low"],
            summary["high"],
            weights.summary["chance"],
            trivial.summary["accuracy"]["mean"],
        ]
        expected = [sum(run.n_right), sum(run.n_items), *(round(100 * share) for share in shares)]
        assert (target, list(map(int, numbers))) == (parse_task(task).target, expected)
