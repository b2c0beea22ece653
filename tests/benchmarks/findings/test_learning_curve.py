"""Accuracy over the number of training networks: trends by hand, of planted results and of flat ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.findings.learning_curve import PAPER, draw, measure, tell
from benchmarks.findings.results import same_setting
from benchmarks.findings.source import MissingDataError, Source
from nws_data.plot.style import theme
from nws_data.tasks.task import load_task
from tests.benchmarks.leaderboard.made_up import class_score, make_result
from tests.conftest import TinyDataset

TASK = "local/augmentation/threshold=0"
RIGHT = {"/share=0.2": (3, 5), "/share=0.5": (5, 5), "": (8, 7)}
"""Windows of ten that are right: of each of the first five test trainings, of each of the other five."""


def source_of(data: TinyDataset, out: Path, right: dict[str, tuple[int, int]], method: str = "svm-rbf-16") -> Source:
    digest = data.manifest.population_digest("random")
    for share, numbers in right.items():
        for name in (method, "majority"):
            score = class_score(numbers, "random", folds=5)
            make_result([score], f"{TASK}{share}", name, data_digest=digest, folds=5).save(out)
    return Source(data.root, out)


def test_trend_by_hand(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    tables = measure(source_of(tiny_dataset, tmp_path, RIGHT))
    n = [sum(load_task(f"{TASK}/fold=0{share}", tiny_dataset.root).counts["train"].values()) for share in RIGHT]
    assert sorted(set(n)) == n == tables["accuracies"]["networks"].tolist()
    accuracy = [sum(numbers) / 20 for numbers in RIGHT.values()]
    assert tables["accuracies"]["accuracy"].tolist() == pytest.approx(accuracy)
    (row,) = tables["trends"].to_dict("records")
    slope, offset = np.polyfit(np.log2(n), accuracy, 1)
    assert (row["slope"], row["at_target"]) == pytest.approx((slope, offset + slope * np.log2(PAPER["random"])))
    assert row["expected"] == min(1, row["at_target"]) and row["at_target"] > 0.5
    assert (row["method"], row["accuracy"], row["paper"]) == ("svm-rbf-16", pytest.approx(0.75), 8035)
    assert f"svm-rbf-16 75 % with {n[-1]} networks, {100 * slope:+.1f}" in tell(tables)
    with theme():
        assert set(draw(tables)) == {"curves"}
    kept, _ = same_setting(Source(tiny_dataset.root, tmp_path), lambda spec: True)
    assert {result.task for result, _ in kept} == {TASK}  # other figures mix no shares


def test_flat_results_have_no_trend(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    (row,) = measure(source_of(tiny_dataset, tmp_path, dict.fromkeys(RIGHT, (4, 7))))["trends"].to_dict("records")
    assert row["slope"] == pytest.approx(0) and row["at_target"] == pytest.approx(0.55)


def test_what_is_missing_names_the_command(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"--task global/optimizer global/optimizer/share=0.5"):
        measure(source_of(tiny_dataset, tmp_path, {"": (4, 7), "/share=0.5": (4, 6)}))
