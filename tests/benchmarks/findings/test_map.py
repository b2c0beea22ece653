"""Maps of accuracy: an effect that is planted by position and progress is found, none is invented, numbers by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import nws_data
from baselines.registry import make_method
from benchmarks.findings import map as figure
from benchmarks.findings.fits import predicted
from benchmarks.findings.source import MissingDataError, Source
from nws_data.cli import main
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import split_of
from tests.benchmarks.findings.test_batch_norm import features, nearest
from tests.conftest import dataset_folder, make_record, write

TINY = {"filter_size": 3, "depth_conv": 3, "depth_fc": 3, "width_conv": 16, "width_fc": 64}
METHOD = "tests.benchmarks.findings.test_batch_norm:Nearest"
END = 0.35
"""Share of the vector at either end that forgets."""


def fading(n: int = 60, accuracy: float = 0.99) -> Path:
    """Return trainings whose augmentation is the scale of all weights, which both ends lose from snapshot 10 on.

    Optimizers take turns and set nothing. All trainings end at ``accuracy``.
    """
    return dataset_folder(f"fading-{n}-{accuracy}", lambda folder: _write(folder, n, accuracy)) / "nws"


def _write(folder: Path, n: int, accuracy: float) -> None:
    paths, seen = [], {"train": 0, "validation": 0, "test": 0}
    for index in range(n):
        record = make_record("random", index)
        nth = seen[split_of(record.training)]
        seen[split_of(record.training)] += 1
        chosen = {"augmentation": nth % 2 == 0, "optimizer": CLASSES["optimizer"][nth % 3]}
        hyperparameters = type(record.hyperparameters).from_dict(record.hyperparameters.to_dict() | TINY | chosen)
        weights = np.random.default_rng(index).standard_normal(
            (20, Architecture.of(hyperparameters).n_weights), dtype=np.float32
        )
        scale = np.full(weights.shape, 2.0 if hyperparameters.augmentation else 1.0, np.float32)
        end = int(END * weights.shape[1])
        scale[10:, :end] = scale[10:, -end:] = 1.4
        curve = (*record.test_accuracy[:-1], accuracy)
        changed = {"hyperparameters": hyperparameters, "weights": weights * scale, "test_accuracy": curve}
        paths.append(folder / f"{record.training}.safetensors")
        replace(record, **changed).save(paths[-1])
    write(folder / "nws", "random", paths)
    for path in paths:
        path.unlink()


@pytest.fixture(scope="module")
def root() -> Path:
    return fading()


@pytest.fixture(scope="module")
def tables(root: Path) -> dict[str, pd.DataFrame]:
    return figure.measure(Source(root, root, ("augmentation", "optimizer"), METHOD))


def wilson(p: float, n: float) -> tuple[float, float]:
    z = norm.ppf(0.975)
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


@pytest.mark.slow
def test_the_planted_effect_is_found(tables: dict[str, pd.DataFrame]) -> None:
    cells = tables["cells"].query("target == 'augmentation' and part == 'all'")
    wide = cells.pivot(index="snapshot", columns="position", values="accuracy").to_numpy()
    assert (wide[:, 45:55] == 1).all()  # the middle never forgets
    assert wide[:10].mean() > 0.95
    assert wide[10:, :10].mean() == pytest.approx(0.5, abs=0.2) and wide[10:, -10:].mean() == pytest.approx(0.5, abs=0.2)
    falls = tables["falls"].query("target == 'augmentation' and part == 'all'").set_index(["until", "region"])
    assert falls.loc[("end", "middle"), "fall"] == pytest.approx(0, abs=0.02)
    for region in ("first", "last"):
        for until, share in (("end", 1), ("mean", 10 / 19)):  # of the 19 later snapshots 10 have forgotten
            row = falls.loc[(until, region)]
            assert row["fall"] == pytest.approx(0.5 * share, abs=0.2) and row["beyond_middle_low"] > 0


@pytest.mark.slow
def test_no_effect_is_invented(tables: dict[str, pd.DataFrame]) -> None:
    regions = tables["regions"].query("target == 'optimizer'")
    assert regions["accuracy"].mean() == pytest.approx(1 / 3, abs=0.1)
    assert ((regions["accuracy_low"] <= 1 / 3) & (regions["accuracy_high"] >= 1 / 3)).mean() > 0.8
    falls = tables["falls"].query("target == 'optimizer' and until == 'mean'")
    assert ((falls["fall_low"] <= 0) & (falls["fall_high"] >= 0)).mean() > 0.8
    assert abs(tables["parts"].set_index("target").loc["optimizer", "difference"]) < 0.2


def right_by_hand(root: Path, part: str, snapshot: int, position: int) -> dict[str, bool]:
    """Return whether the method tells augmentation from one window, by training, with windows cut out by hand."""
    task = nws_data.load_task(f"{figure.PARTS[part]}/augmentation", root)
    method = make_method(METHOD)
    method.fit(task)
    data = nws_data.open(root, "random").select(snapshot=snapshot)
    found = {}
    for i, training in enumerate(data["training"].tolist()):
        if training in set(task.test.data["training"].tolist()):
            vector = nws_data.GlobalVectors(data.take(np.array([i])))[0][0].numpy()
            n_conv = int(data["n_weights_conv"][i])
            last = (n_conv if part == "conv" else len(vector)) - 5000
            first = n_conv if part == "fc" else 0
            steps = min(round(position / 99 * (last - first) / 256), (last - first) // 256)
            train, labels, n = method.known
            (label,) = nearest(train, labels, features(vector[None, first + 256 * steps :][:, :5000]), n)
            found[training] = task.classes[label] == data["augmentation"][i]
    return found


@pytest.mark.parametrize(("part", "snapshot", "position"), [("all", 0, 0), ("all", 12, 31), ("fc", 19, 99)])
def test_a_cell_by_hand(root: Path, tables: dict[str, pd.DataFrame], part: str, snapshot: int, position: int) -> None:
    found = list(right_by_hand(root, part, snapshot, position).values())
    cells = tables["cells"]
    (row,) = cells[
        (cells["target"] == "augmentation")
        & (cells["part"] == part)
        & (cells["snapshot"] == snapshot)
        & (cells["position"] == position)
    ].itertuples()
    assert (row.trainings, row.right) == (len(found), sum(found)) and row.accuracy == pytest.approx(np.mean(found), abs=1e-5)


def test_tables_by_hand() -> None:
    rng = np.random.default_rng(3)
    right = rng.random((9, 20, 100)) < rng.random((9, 1, 1))
    n = len(right)
    cells = figure.cell_table(right).set_index(["snapshot", "position"])
    row, p = cells.loc[(7, 42)], right[:, 7, 42].mean()
    assert row["right"] == right[:, 7, 42].sum() and row["accuracy"] == pytest.approx(p)
    assert (row["low"], row["high"]) == pytest.approx(wilson(p, n - 1))  # variance with n - 1 degrees of freedom

    shares = right[:, 5, 40:60].mean(1)
    effective = shares.mean() * (1 - shares.mean()) / (shares.var(ddof=1) / n)
    region = figure.region_table(right).set_index(["region", "snapshot"]).loc[("middle", 5)]
    assert region["accuracy"] == pytest.approx(shares.mean())
    assert (region["accuracy_low"], region["accuracy_high"]) == pytest.approx(wilson(shares.mean(), effective))

    fall = figure.fall_table(right).set_index(["region", "until"]).loc[("last", "mean")]
    last = right[:, 0, 90:].mean(1) - right[:, 1:, 90:].mean((1, 2))
    middle = right[:, 0, 40:60].mean(1) - right[:, 1:, 40:60].mean((1, 2))
    for name, values in (("fall", last), ("beyond_middle", last - middle)):
        half = norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(n)
        expected = (values.mean(), values.mean() - half, values.mean() + half)
        assert (fall[name], fall[f"{name}_low"], fall[f"{name}_high"]) == pytest.approx(expected)

    ids, other = np.array(list("abcdefghi")), rng.random((9, 20, 100)) < 0.5
    found = figure.compare(ids[:8], right[:8], ids[2:], other[2:])
    gain = right[2:8, -1].mean(1) - other[2:8, -1].mean(1)
    half = norm.ppf(0.975) * gain.std(ddof=1) / np.sqrt(6)
    assert found["trainings"] == 6 and found["conv"] == pytest.approx(right[2:8, -1].mean())
    assert (found["difference"], found["difference_low"]) == pytest.approx((gain.mean(), gain.mean() - half))


@pytest.mark.slow
def test_files_and_page(root: Path, tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    assert len(tables["cells"]) == 2 * 3 * 20 * 100
    assert tables["tasks"]["folds"].eq(0).all() and tables["tasks"]["spill_share"].max() == 1  # short conv parts
    words = ["--target", "augmentation", "--method", "majority", "--data", str(root), "--out", str(tmp_path)]
    assert main(["figure", "map", *words]) == 0
    assert len(pd.read_csv(tmp_path / "map-cells.csv")) == 3 * 20 * 100
    page = (tmp_path / "map.html").read_text()
    body = page[page.rindex("<body>") :]
    assert body.count('class="plotly-graph-div"') == 3 and "95 % interval" in body
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", body)  # nothing is loaded from elsewhere
    assert len(list((tmp_path / ".kept").glob("map-*.npz"))) == 3


def test_what_was_predicted_is_kept(root: Path, tmp_path: Path) -> None:
    source = Source(root, root, ("augmentation",), "majority", kept=tmp_path)
    (task,) = figure.tested(source, "augmentation", "fc")
    found = predicted(source, "map", task, figure._predict)
    again = predicted(source, "map", task, lambda method, task: {})
    assert np.array_equal(found["ids"], again["ids"]) and np.array_equal(found["right"], again["right"])
    assert found["right"].mean() == 0.5  # of balanced classes


@pytest.mark.slow
def test_folds_stand_in_and_what_is_missing_is_said(tmp_path: Path) -> None:
    root = fading(n=24)  # too few for the official test side
    source = Source(root, tmp_path, ("augmentation",), "majority")
    tables = figure.measure(source)
    assert tables["tasks"]["folds"].between(1, 5).all() and "folds where the official" in figure.tell(tables)
    tested = {t for task in figure.tested(source, "augmentation", "all") for t in task.test.data["training"]}
    assert tables["tasks"]["test_trainings"].eq(len(tested)).all()
    with pytest.raises(MissingDataError, match="too few trainings for filter_size"):
        figure.measure(replace(source, targets=("augmentation", "filter_size")))
    with pytest.raises(MissingDataError, match="reads windows, svm-linear-480 does not"):
        figure.measure(replace(source, method="svm-linear-480"))


@pytest.mark.slow
def test_trainings_below_their_thresholds_stand_in_where_too_few_pass(tmp_path: Path) -> None:
    root = fading(accuracy=0.2)
    tables = figure.measure(Source(root, tmp_path, ("augmentation",), "majority"))
    assert tables["tasks"]["threshold"].eq(0.15).all() and tables["tasks"]["folds"].eq(0).all()
    assert "on augmentation of those above 15% accuracy" in figure.tell(tables)
