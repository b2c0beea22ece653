"""Slopes of accuracy over window length: by hand, of planted results and of results that do not depend on the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.findings.results import same_setting
from benchmarks.findings.source import MissingDataError, Source
from benchmarks.findings.subset_size import draw, measure, tell
from nws_data.plot.style import theme
from tests.benchmarks.leaderboard.made_up import class_score, make_result
from tests.conftest import TinyDataset

LENGTHS = (100, 1000, 5000, 20_000)
RIGHT = {100: (3, 5), 1000: (5, 5), 5000: (6, 7), 20_000: (8, 7)}
"""Windows of ten that are right: of each of the first five test trainings, of each of the other five."""


def source_of(data: TinyDataset, out: Path, right: dict[int, tuple[int, int]], **changes: object) -> Source:
    digest = data.manifest.population_digest("random")
    for length, numbers in right.items():
        task = "local/augmentation" + ("" if length == 5000 else f"@{length}")
        for method in ("svm-rbf-16", "majority"):
            score = class_score(numbers, "random")
            make_result([score, score], task, method, data_digest=digest, **changes).save(out)
    return Source(data.root, out)


def test_the_slope_is_that_of_each_training_on_average(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    tables = measure(source_of(tiny_dataset, tmp_path, RIGHT))
    row = tables["slopes"].iloc[0]
    x = np.log2(LENGTHS)
    own = np.array([np.polyfit(x, [RIGHT[n][half] / 10 for n in LENGTHS], 1)[0] for half in (0, 1) for _ in range(5)])
    half_width = 1.959963984540054 * own.std(ddof=1) / np.sqrt(10)
    assert row["slope"] == pytest.approx(own.mean())
    assert (row["low"], row["high"]) == pytest.approx((own.mean() - half_width, own.mean() + half_width))
    accuracy = np.array([sum(RIGHT[n]) / 20 for n in LENGTHS])
    assert row["r_squared"] == pytest.approx(np.corrcoef(x, accuracy)[0, 1] ** 2)
    assert tables["accuracies"]["length"].tolist() == list(LENGTHS)
    assert tables["accuracies"]["accuracy"].tolist() == pytest.approx(accuracy.tolist())
    assert len(tables["slopes"]) == 1  # none of methods that look at no weights
    assert f"augmentation {100 * own.mean():+.1f}" in tell(tables)
    with theme():
        assert set(draw(tables)) == {"lengths", "slopes"}


def test_equal_accuracies_have_no_slope(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    row = measure(source_of(tiny_dataset, tmp_path, dict.fromkeys(LENGTHS, (4, 7))))["slopes"].iloc[0]
    assert row["slope"] == pytest.approx(0) and row["low"] <= 1e-12 and row["high"] >= -1e-12


def test_opposite_trends_of_trainings_give_an_interval_around_zero(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    right = {100: (3, 7), 1000: (5, 5), 20_000: (7, 3)}
    row = measure(source_of(tiny_dataset, tmp_path, right))["slopes"].iloc[0]
    assert row["slope"] == pytest.approx(0) and row["low"] < -0.01 and row["high"] > 0.01


def test_the_setting_of_most_tasks_counts_and_none_is_mixed(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    source = source_of(tiny_dataset, tmp_path, {100: (1, 1), 5000: (2, 2)})
    digest = tiny_dataset.manifest.population_digest("random")

    def kept(n: int) -> tuple[set[str], str]:
        for length in (100, 200, 5000)[:n]:
            task = f"local/augmentation@{length}/threshold=0.2"
            score = class_score((9, 9), "random")
            make_result([score], task.replace("@5000", ""), data_digest=digest, official=False).save(tmp_path)
        found, words = same_setting(Source(source.root, tmp_path), lambda spec: spec.family.name == "local")
        return {result.task for result, _ in found}, words

    assert kept(2) == ({"local/augmentation@100", "local/augmentation"}, "official test split")
    names, words = kept(3)
    assert len(names) == 3 and all("threshold" in name for name in names) and words == "of trainings above 20% accuracy"


def test_what_is_missing_names_the_command(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nws bench run --task 'local/\*' 'local/\*@100'"):
        measure(source_of(tiny_dataset, tmp_path, {5000: (4, 7)}))
    with pytest.raises(MissingDataError, match="several lengths"):
        measure(Source(tiny_dataset.root, tmp_path / "nowhere"))
