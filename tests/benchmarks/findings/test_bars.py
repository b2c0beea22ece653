"""Bars from result files: accuracies, intervals and paired differences by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.findings.bars import draw, measure, tell
from benchmarks.findings.results import look_of
from benchmarks.findings.source import MissingDataError, Source
from nws_data.plot.style import theme
from tests.benchmarks.leaderboard.made_up import class_score, make_result
from tests.conftest import TinyDataset

RIGHT = {
    ("global/augmentation", "svm-linear-480"): [(9, 8), (9, 8)],
    ("global/augmentation", "dmc"): [(10, 9), (9, 9)],
    ("global/augmentation", "majority"): [(10, 0)],
    ("local/augmentation", "svm-linear-16"): [(5, 6)],
    ("local/augmentation", "dmc"): [(8, 8), (9, 8)],
    ("local-conv/augmentation", "dmc"): [(9, 9)],
    ("local-fc/augmentation", "dmc"): [(5, 5)],
}
"""Right ones of ten, by task and method: for each seed those of either class."""


def each(numbers: tuple[int, int], population: str) -> np.ndarray:
    """Share of right items of each test training, as ``class_score`` spreads them."""
    if population == "fixed":
        return np.array([float(i < n) for n in numbers for i in range(10)])
    return np.array([n / 10 for n in numbers for _ in range(5)])


def population(task: str) -> str:
    return "fixed" if task.startswith("global") else "random"


@pytest.fixture(scope="module")
def tables(tiny_dataset: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    out = tmp_path_factory.mktemp("results")
    for (task, method), seeds in RIGHT.items():
        of = population(task)
        digest = tiny_dataset.manifest.population_digest(of)
        make_result([class_score(n, of) for n in seeds], task, method, data_digest=digest).save(out)
        make_result([class_score((1, 1), of)], task, method, data_digest="b" * 64).save(out)  # of another dataset
    return both(tiny_dataset.root, out)


def both(root: Path, results: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of both populations together."""
    found = [measure(Source(root, results, populations=(name,))) for name in ("fixed", "random")]
    return {key: pd.concat([tables[key] for tables in found], ignore_index=True) for key in found[0]}


def test_accuracies_and_intervals_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["accuracies"].set_index(["family", "method"])
    assert len(rows) == len(RIGHT)
    for (task, method), seeds in RIGHT.items():
        shares = np.mean([each(n, population(task)) for n in seeds], axis=0)
        row = rows.loc[task.split("/")[0], method]
        accuracy, n = shares.mean(), len(shares)
        items = n * (1 if population(task) == "fixed" else 10)
        variance = shares.var(ddof=1) / n
        size = min(accuracy * (1 - accuracy) / variance, items) if variance else n
        z = 1.959963984540054
        middle = (accuracy + z**2 / (2 * size)) / (1 + z**2 / size)
        half = z / (1 + z**2 / size) * math.sqrt(accuracy * (1 - accuracy) / size + z**2 / (4 * size**2))
        assert row["accuracy"] == pytest.approx(accuracy)
        assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half))
        assert row["chance"] == 0.5 and row["seeds"] == len(seeds) and row["trainings"] == n
        of_seeds = [each(numbers, population(task)).mean() for numbers in seeds]
        if len(set(seeds)) > 1:
            assert row["sd_seeds"] == pytest.approx(np.std(of_seeds, ddof=1))
        else:
            assert np.isnan(row["sd_seeds"])


def test_paired_differences_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    pairs = {
        ("global", "deep less linear"): (("global", "dmc"), ("global", "svm-linear-480")),
        ("local", "deep less linear"): (("local", "dmc"), ("local", "svm-linear-16")),
        ("local", "conv less fc"): (("local-conv", "dmc"), ("local-fc", "dmc")),
    }
    rows = tables["differences"].set_index(["family", "comparison"])
    assert set(rows.index) == set(pairs)
    for key, (a, b) in pairs.items():
        shares = []
        for family, method in (a, b):
            task = f"{family}/augmentation"
            shares.append(np.mean([each(n, population(task)) for n in RIGHT[task, method]], axis=0))
        gain = shares[0] - shares[1]
        half = 1.959963984540054 * gain.std(ddof=1) / np.sqrt(len(gain))
        found = rows.loc[key, ["difference", "low", "high"]].tolist()
        assert found == pytest.approx([gain.mean(), gain.mean() - half, gain.mean() + half])


def test_text_and_pictures(tables: dict[str, pd.DataFrame]) -> None:
    text = tell(tables)
    assert "Whole vectors: 1 of 1 are told above chance; best augmentation 92 % [" in text and "by dmc" in text
    assert "dmc less svm-linear-16: +28 points on average, clear of zero on 1 of 1." in text
    assert "Convolutional less fully connected windows by dmc: +40 points" in text
    accuracies = tables["accuracies"]
    whole = accuracies["family"] == "global"
    with theme():
        assert [set(draw({"accuracies": accuracies[rows]})) for rows in (whole, ~whole)] == [{"global"}, {"local"}]


def test_methods_at_chance_are_said_to_be(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    digest = tiny_dataset.manifest.population_digest("fixed")
    for method, right in (("svm-linear-480", (5, 5)), ("dmc", (4, 6)), ("majority", (10, 0))):
        make_result([class_score(right)], "global/augmentation", method, data_digest=digest).save(tmp_path)
    text = tell(measure(Source(tiny_dataset.root, tmp_path, populations=("fixed",))))
    assert "0 of 1 are told above chance" in text and "clear of zero on 0 of 1" in text


def test_no_results_names_the_command(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nws bench run --task 'global/\*'"):
        measure(Source(tiny_dataset.root, tmp_path / "nowhere"))


def test_no_two_methods_look_alike() -> None:
    looks = look_of([f"method{i}" for i in range(12)] + ["majority", "hyperparameters", "length"])
    assert len({tuple(sorted(look.items())) for look in looks.values()}) == 15
