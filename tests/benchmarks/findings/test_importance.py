"""Coefficient norms by hand, planted features that are recovered, and features without an effect that are not told."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.findings import importance
from benchmarks.findings.importance import Labelled, clear, coefficient_norms, draw, measure, repeat, tell
from benchmarks.findings.source import MissingDataError, Source
from nws_data.features.statistics import STATISTICS
from nws_data.plot.style import theme
from nws_data.space.architecture import Architecture
from tests.conftest import TinyDataset, dataset_folder, make_record, write

TENSORS = ("conv1.kernel", "conv1.bias", "fc1.kernel", "fc1.mean")
NAMES = [f"{tensor}.{statistic}" for tensor in TENSORS for statistic in STATISTICS]
PLANTED = 16 + 15  # conv1.bias.gradient_p99
REPEATS = 4


def made_up(effect: float, seed: int = 0, n: int = 66) -> tuple[np.ndarray, Labelled]:
    """Return two items each of trainings of three classes, whose planted feature is moved by the class."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    table = np.repeat(random.standard_normal((n, len(NAMES))), 2, axis=0) + 0.1 * random.standard_normal((2 * n, len(NAMES)))
    table[:, PLANTED] += effect * np.repeat(labels, 2)
    return table, Labelled(np.repeat(np.arange(n), 2), np.array([f"fixed-{i:06d}" for i in range(n)]), labels, 3, {})


def tables_of(table: np.ndarray, items: Labelled) -> dict[str, pd.DataFrame]:
    norms, permuted, fit = repeat(table, items, REPEATS, "made up")
    about = {"scope": "layers", "target": "optimizer"}
    return {
        "features": importance._by_feature(NAMES, norms, permuted).assign(**about),
        "groups": importance._by_group(NAMES, norms, permuted).assign(**about),
        "fits": pd.DataFrame([about | fit | {"left_out": ""}]),
    }


@pytest.fixture(scope="module")
def planted() -> dict[str, pd.DataFrame]:
    return tables_of(*made_up(3.0))


def by_hand(table: np.ndarray, items: Labelled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Norms (repeats, features) and right and all held-out items of each training, one step after the other."""
    from sklearn.svm import LinearSVC

    norms, right, seen = [], np.zeros(len(items.trainings)), np.zeros(len(items.trainings))
    for number in range(REPEATS):
        ids = sorted(items.trainings, key=lambda t: hashlib.sha256(f"half {number}/{t}".encode()).digest())
        of_class: dict[int, list[int]] = {}
        for training in ids:
            row = int(training.split("-")[1])
            of_class.setdefault(int(items.labels[row]), []).append(row)
        n = min(len(rows) for rows in of_class.values()) // 2
        fitted = [row for rows in of_class.values() for row in rows[:n]]
        held = [row for rows in of_class.values() for row in rows[n : 2 * n]]
        own, others = np.isin(items.of, fitted), np.isin(items.of, held)
        low, high = table[own].min(0), table[own].max(0)
        scaled = (np.clip(table, low, high) - low) / (high - low)
        scaled = (scaled - scaled[own].mean(0)) / scaled[own].std(0)
        values = []
        for value in range(3):  # one class versus the rest
            machine = LinearSVC(C=1.0, dual=False, max_iter=5000).fit(scaled[own], items.labels[items.of[own]] == value)
            values.append([*machine.coef_[0], machine.intercept_[0]])
        w = np.array(values)
        norms.append([np.sqrt(sum(w[c, f] ** 2 for c in range(3))) for f in range(table.shape[1])])
        hits = (scaled[others] @ w[:, :-1].T + w[:, -1]).argmax(1) == items.labels[items.of[others]]
        for training, hit in zip(items.of[others], hits, strict=True):
            seen[training] += 1
            right[training] += hit
    return np.array(norms), right, seen


def test_norms_and_accuracy_by_hand(planted: dict[str, pd.DataFrame]) -> None:
    norms, right, seen = by_hand(*made_up(3.0))
    features = planted["features"]
    assert features["norm"].to_numpy() == pytest.approx(norms.mean(0), rel=1e-2, abs=1e-3)
    assert features["norm_sd"].to_numpy() == pytest.approx(norms.std(0, ddof=1), rel=5e-2, abs=1e-3)
    shares = np.array([row / row.mean() for row in norms])
    assert features["relative"].to_numpy() == pytest.approx(shares.mean(0), rel=1e-2, abs=1e-2)
    groups = planted["groups"].set_index(["level", "group"])
    bias = [own[16:32].mean() for own in norms]
    assert groups.loc[("tensor", "conv1.bias"), "norm"] == pytest.approx(np.mean(bias), rel=1e-2)
    assert groups.loc[("kind", "conv bias"), "norm_sd"] == pytest.approx(np.std(bias, ddof=1), rel=5e-2)
    percentiles = [i for i, name in enumerate(NAMES) if name.rpartition(".")[2].removeprefix("gradient_").startswith("p")]
    assert len(percentiles) == groups.loc[("statistics", "percentiles"), "features"] == 40
    assert groups.loc[("statistics", "percentiles"), "norm"] == pytest.approx(norms[:, percentiles].mean(), rel=1e-2)
    fit = planted["fits"].iloc[0]
    assert fit["accuracy"] == pytest.approx(right.sum() / seen.sum(), abs=0.01)
    assert fit["trainings_half"] == 33 and fit["chance"] == pytest.approx(1 / 3)
    assert fit["accuracy_low"] < fit["accuracy"] < fit["accuracy_high"]


def test_the_planted_feature_is_recovered(planted: dict[str, pd.DataFrame]) -> None:
    features = planted["features"]
    assert features["norm"].idxmax() == PLANTED and np.flatnonzero(clear(features)).tolist() == [PLANTED]
    best = features.loc[PLANTED]
    times = f"{best['relative']:.1f} times the mean norm, {best['permuted']:.1f} under permuted labels"
    assert f"conv1.bias gradient p99 ({times})" in tell(planted)
    with theme():
        assert set(draw(planted)) == {"layers", "kinds"}


def test_no_bar_is_cut(planted: dict[str, pd.DataFrame]) -> None:
    """Also of a later target with longer bars than the first."""
    grown = {name: table.assign(target="activation") for name, table in planted.items()}
    grown["groups"]["relative"] *= 3
    with theme():
        figure = draw({name: pd.concat([table, grown[name]]) for name, table in planted.items()})["kinds"]
    heights = [(bar.get_height(), panel.get_ylim()[1]) for panel in figure.axes for bar in panel.patches]
    assert len(heights) > 4 and all(height <= top for height, top in heights)


def test_labels_without_an_effect_are_not_told() -> None:
    for seed in (1, 2, 3):
        tables = tables_of(*made_up(0.0, seed))
        assert "optimizer" in tell(tables) and "is not told" in tell(tables)
        assert not clear(tables["features"]).any() and not clear(tables["groups"]).any()


def test_two_classes_count_as_two_machines() -> None:
    w = np.array([[3.0, -4.0]])
    assert coefficient_norms(w) == pytest.approx([3 * 2**0.5, 4 * 2**0.5])
    assert coefficient_norms(np.vstack([w, -w])) == pytest.approx([3 * 2**0.5, 4 * 2**0.5])


@pytest.fixture(scope="module")
def both() -> Path:
    """24 fixed trainings whose first filters have another spread for digits, 30 random ones without any difference."""
    return dataset_folder("importance", _write) / "nws"


def _write(folder: Path) -> None:
    for population, n in (("fixed", 24), ("random", 30)):
        staged = []
        for index in range(n):
            record = make_record(population, index)
            weights = np.nan_to_num(record.weights, posinf=0.0)
            if population == "fixed" and record.hyperparameters.dataset == "digits":
                kernel = Architecture.of(record.hyperparameters).layers[0].tensors[0]
                assert kernel.kind == "kernel"
                weights[:, kernel.slice] *= np.float32(3)
            staged.append(folder / f"{record.training}.safetensors")
            replace(record, weights=weights, test_accuracy=(*record.test_accuracy[:-1], 0.95)).save(staged[-1])
        write(folder / "nws", population, staged)
        for path in staged:
            path.unlink()


@pytest.mark.slow
def test_a_dataset_with_and_without_an_effect(both: Path) -> None:
    sources = [Source(both, both, ("dataset", "activation"), repeats=3, populations=(name,)) for name in ("fixed", "random")]
    made = [measure(source) for source in sources]
    tables = {key: pd.concat([found[key] for found in made]) for key in made[0]}
    fits = tables["fits"].set_index(["scope", "target"])
    assert fits.loc[("layers", "dataset"), "accuracy"] > 0.9
    assert fits.loc[("windows", "dataset"), "accuracy_low"] <= 0.5
    features = tables["features"]
    layers = features[(features["scope"] == "layers") & (features["target"] == "dataset")]
    assert len(layers) == 480 and (features["scope"] == "windows").any()
    best = layers.loc[layers["relative"].nlargest(5).index]
    assert set(best["tensor"]) == {"conv1.kernel"}
    assert np.isnan(fits.loc[("layers", "activation"), "accuracy"])  # 24 trainings of four classes are too few
    assert fits.loc[("layers", "activation"), "left_out"].count(", ") >= 2
    texts = [tell(found) for found in made]
    assert "too few trainings for activation" in texts[0] and "Windows of 5,000 values: dataset" in texts[1]
    assert measure(sources[0])["features"].equals(made[0]["features"])
    with theme():
        assert [set(draw(found)) for found in made] == [{"layers", "kinds"}, {"windows"}]


def test_too_few_trainings_say_what_to_build(tiny_dataset: TinyDataset) -> None:
    with pytest.raises(MissingDataError, match="nws build --population fixed") as error:
        measure(Source(tiny_dataset.root, tiny_dataset.root, targets=("optimizer",), populations=("fixed",)))
    assert "adam" in str(error.value)


def test_no_training_that_passed(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    staged = []
    for index in range(3):
        record = replace(
            make_record("random", index), test_accuracy=(0.1,) * len(make_record("random", index).test_accuracy)
        )
        staged.append(tmp_path / f"{record.training}.safetensors")
        record.save(staged[-1])
    write(tmp_path / "nws", "random", staged)
    with pytest.raises(MissingDataError, match="too few: all"):
        measure(Source(tmp_path / "nws", tmp_path))
