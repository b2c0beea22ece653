"""Components, neighbours and separation by hand, on points with a planted effect and on points without one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.findings.embedding import (
    FACTORS,
    INPUTS,
    draw,
    embed,
    measure,
    neighbours,
    principal_components,
    separation,
    tell,
)
from benchmarks.findings.source import MissingDataError, Source
from nws_data.plot.style import theme
from tests.conftest import TinyDataset, dataset_folder, make_record, write

TRAININGS, SNAPSHOTS = 30, 20


def made_up(rng: np.random.Generator) -> pd.DataFrame:
    """Labels of 30 trainings that say nothing of each other."""
    rows = {"training": [f"fixed-{i:06d}" for i in range(TRAININGS)]}
    for i, name in enumerate(FACTORS):
        rows[name] = [f"{name}-{v}" for v in rng.permutation(np.arange(TRAININGS) % (2 + i % 3))]
    frame = pd.DataFrame(rows).assign(learning_rate=rng.uniform(0.0002, 0.005, TRAININGS))
    frame = frame.loc[np.repeat(frame.index, SNAPSHOTS)].reset_index(drop=True)
    frame["snapshot"] = np.tile(np.arange(SNAPSHOTS), TRAININGS)
    return frame.assign(progress=frame["snapshot"] / 19, test_error=rng.uniform(0, 1, len(frame)))


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((700, 90)) @ np.diag(2.0 ** -np.arange(90).clip(max=12)) + rng.standard_normal(90)

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, 700, 128):
            yield values[first : first + 128]

    shares, scores, by_column = principal_components(batches, 90)
    centred = values - values.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    total = (centred**2).sum()
    assert shares == pytest.approx(singular[:10] ** 2 / total, rel=1e-5)
    assert by_column == pytest.approx((centred**2).sum(0) / total)
    assert np.abs(scores) == pytest.approx(np.abs(left[:, :10] * singular[:10]), abs=0.02)
    again = principal_components(batches, 90)
    assert all(a.tobytes() == b.tobytes() for a, b in zip((shares, scores, by_column), again, strict=True))


def test_neighbours_are_of_other_trainings_and_nearest() -> None:
    rng = np.random.default_rng(1)
    trainings = np.repeat([f"fixed-{i:06d}" for i in range(6)], 20)
    places = rng.standard_normal((120, 3)) + np.repeat(rng.standard_normal((6, 3)), 20, axis=0)
    found = neighbours(places, trainings)
    for i in range(120):
        distance = np.where(trainings == trainings[i], np.inf, np.linalg.norm(places - places[i], axis=1))
        assert found[i].tolist() == np.argsort(distance)[:10].tolist()


def by_hand(points: pd.DataFrame, places: np.ndarray, label: str, snapshot: int | None = None) -> float:
    right = []
    for i in points.index if snapshot is None else points.index[points["snapshot"] == snapshot]:
        others = np.flatnonzero(points["training"] != points["training"][i])
        near = others[np.argsort(np.linalg.norm(places[others] - places[i], axis=1))[:10]]
        votes = Counter(points[label][near])
        right.append(min(votes, key=lambda value: (-votes[value], value)) == points[label][i])
    return float(np.mean(right))


@pytest.mark.slow
def test_a_planted_class_and_number_are_told_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    points = made_up(rng)
    centres = {value: 4.0 * i for i, value in enumerate(sorted(points["optimizer"].unique()))}
    places = np.stack([points["optimizer"].map(centres), 3 * points["progress"]], axis=1)
    places += 0.3 * rng.standard_normal(places.shape)
    table = separation(points, places).set_index(["snapshots", "label"])
    assert table.loc[("all", "optimizer"), "value"] > 0.99 and table.loc[("all", "progress"), "value"] > 0.8
    for label in FACTORS:
        row = table.loc[("all", label)]
        if label in ("optimizer", "activation"):
            assert row["value"] == pytest.approx(by_hand(points, places, label)) and row["measure"] == "accuracy"
        assert table.loc[("last", label), "value"] == pytest.approx(by_hand(points, places, label, 19))
        assert row["chance"] == points[label].value_counts().max() / len(points)
        assert (row["low"] > row["chance"]) == (label == "optimizer"), label
    assert ("last", "progress") not in table.index
    truth, near = points["learning_rate"].to_numpy(), neighbours(places, points["training"].to_numpy())
    r2 = 1 - ((truth[near].mean(1) - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert table.loc[("all", "learning_rate"), "value"] == pytest.approx(r2)


def test_without_an_effect_nothing_is_told() -> None:
    rng = np.random.default_rng(3)
    points = made_up(rng)
    places = np.repeat(rng.standard_normal((TRAININGS, 2)), SNAPSHOTS, axis=0) + 0.01 * rng.standard_normal((600, 2))
    table = separation(points, places)
    assert not (table["low"] > table["chance"]).any()
    shares = pd.DataFrame({"of": ["component", "kind"], "name": ["1", "kernel"], "share": [0.5, 0.9]})
    tables = {
        "variance": pd.concat([shares.assign(input=name) for name in INPUTS]),
        "separation": pd.concat([table.assign(input=name, space="UMAP") for name in INPUTS]),
    }
    text = tell(tables)
    assert text.count("no hyper-parameter above chance") == 2 and "hold 50.0% of the variance (90% of all" in text


def test_what_is_missing(tiny_dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(tiny_dataset.root, Path("nowhere"))
    with pytest.raises(MissingDataError, match=r"at least 10 finite trainings of the population fixed, .* has 8"):
        measure(source)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDataError, match=r"pip install -e '.\[umap\]'"):
        measure(source)


@pytest.fixture
def quick_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    umap = pytest.importorskip("umap")
    monkeypatch.setattr(umap, "UMAP", partial(umap.UMAP, n_epochs=30))  # of 500


@pytest.mark.slow
def test_the_same_points_have_the_same_places(quick_umap: None) -> None:
    points = np.random.default_rng(4).standard_normal((60, 10))
    assert np.array_equal(embed(points), embed(points))


def ten(folder: Path) -> None:
    """Write ten trainings of which augmentation moves all kernels."""
    staged = []
    for index in range(10):
        record = make_record("fixed", index)
        record.weights[:] *= 0.01
        record.weights[:, :16_000] += 0.2 * record.hyperparameters.augmentation
        staged.append(folder / f"{record.training}.safetensors")
        record.save(staged[-1])
    write(folder / "nws", "fixed", staged)
    for path in staged:
        path.unlink()


@pytest.mark.slow
def test_the_whole_figure(quick_umap: None) -> None:
    """Augmentation moves all kernels; the plane shows it."""
    source = Source(dataset_folder("embedding", ten) / "nws", Path("nowhere"))
    tables = measure(source)
    assert len(tables["points"]) == 200
    first = tables["variance"][(tables["variance"]["input"] == "raw") & (tables["variance"]["of"] == "component")]
    assert first["share"].iloc[0] > 0.9
    found = tables["separation"]
    told = found[(found["label"] == "augmentation") & (found["input"] == "raw")]
    assert len(told) == 4 and (told["value"] == 1).all()
    with theme():
        assert set(draw(tables)) == {"raw", "asinh", "separation"}
    assert "augmentation (100%" in tell(tables)
