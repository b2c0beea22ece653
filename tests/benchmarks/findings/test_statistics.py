"""How trainings went: every number by hand from the rows of a dataset, and peaks of planted distributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nws_data
from benchmarks.findings.source import Source
from benchmarks.findings.statistics import PAIRS, density, draw, measure, modes, tell
from nws_data.plot.style import theme
from tests.conftest import TinyDataset


@pytest.fixture(scope="module")
def tables(tiny_dataset: TinyDataset) -> dict[str, pd.DataFrame]:
    return measure(Source(tiny_dataset.root, Path("nowhere")))


@pytest.fixture(scope="module")
def rows(tiny_dataset: TinyDataset) -> list[dict]:
    frame = nws_data.open(tiny_dataset.root, "random").trainings()
    return [row for row in frame.to_dict("records") if row["finite"]]


def test_pairs_have_means_and_counts_of_every_combination(tables: dict[str, pd.DataFrame], rows: list[dict]) -> None:
    pairs, n = tables["pairs"], 0
    for row, column in PAIRS:
        for record in pairs[(pairs["row"] == row) & (pairs["column"] == column)].to_dict("records"):
            key = record["dataset"], record["row_value"], record["column_value"]
            own = [r["final_test_accuracy"] for r in rows if (r["dataset"], str(r[row]), str(r[column])) == key]
            assert record["trainings"] == len(own) > 0 and record["accuracy"] == pytest.approx(np.mean(own))
            n += len(own)
    assert n == len(PAIRS) * len(rows)


def test_curves_and_their_means(tables: dict[str, pd.DataFrame], rows: list[dict]) -> None:
    middle = {}
    for row in rows:
        curve = np.asarray(row["test_accuracy"])
        middle[row["training"]] = np.interp((len(curve) - 1) / 2, np.arange(len(curve)), curve)
    curves = tables["curves"].set_index("training")
    assert len(curves) == len(rows)
    for training, value in middle.items():
        assert curves.loc[training, "50"] == pytest.approx(value, abs=1e-4)
    means = tables["means"].set_index(["dataset", "progress"])
    for name in {row["dataset"] for row in rows}:
        own = [row for row in rows if row["dataset"] == name]
        assert means.loc[(name, 50.0), "test"] == pytest.approx(np.mean([middle[r["training"]] for r in own]))
        assert means.loc[(name, 100.0), "train"] == pytest.approx(np.mean([r["train_accuracy"][-1] for r in own]))
        assert means.loc[(name, 0.0), "validation"] == pytest.approx(np.mean([r["validation_accuracy"][0] for r in own]))


def made_up(accuracy: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame({"dataset": "cifar10", "final_test_accuracy": accuracy, "threshold": 0.25})
    return frame.assign(passed=frame["final_test_accuracy"] > 0.25)


def test_planted_peaks_are_found() -> None:
    random = np.random.default_rng(0)
    parts = [(0.1, 0.005, 80), (0.2, 0.01, 40), (0.6, 0.05, 120)]
    row = modes(made_up(np.concatenate([random.normal(m, s, n) for m, s, n in parts]))).iloc[0]
    assert row["failure_peak"] == pytest.approx(0.1, abs=0.01)
    assert row["failure_peak_2"] == pytest.approx(0.2, abs=0.01)
    assert row["success_peak"] == pytest.approx(0.6, abs=0.04)
    assert row["passed"] == pytest.approx(0.5, abs=0.01) and row["trainings"] == 240


def test_no_failures_no_peak_of_failures() -> None:
    row = modes(made_up(np.random.default_rng(0).normal(0.6, 0.05, 200))).iloc[0]
    assert np.isnan(row["failure_peak"]) and np.isnan(row["failure_peak_2"]) and row["passed"] == 1


def test_the_density_integrates_to_one() -> None:
    points, height = density(np.array([0.3, 0.5, 0.7]))
    assert np.trapezoid(height, points) == pytest.approx(1, abs=1e-4)


def test_text_and_pictures(tables: dict[str, pd.DataFrame], rows: list[dict]) -> None:
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        groups.setdefault((row["initialization"], row["activation"]), []).append(row["final_test_accuracy"])
    means = {key: np.mean(values) for key, values in groups.items()}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    text = tell(tables)
    assert f"Of {len(rows)} trainings" in text
    assert f"{best[0]} with {best[1]} ({means[best]:.0%})" in text and f"worst {worst[0]} with {worst[1]}" in text
    with theme():
        assert set(draw(tables)) == {"curves", "accuracies", "pairs", "sizes"}
