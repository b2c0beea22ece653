"""Figure 19 on planted weights: what kernels tell survives stripping, what norm values tell does not; numbers by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nws_data
from baselines.method import Method
from benchmarks.findings.batch_norm import draw, measure, tell
from benchmarks.findings.source import MissingDataError, Source
from nws_data.plot.style import theme
from nws_data.space.architecture import Architecture
from nws_data.space.identity import fold_split_of
from tests.baselines.planted import planted_record, write_planted
from tests.conftest import TinyDataset, dataset_folder, write

METHOD = "tests.benchmarks.findings.test_batch_norm:Nearest"
TARGETS = ("dataset", "augmentation", "optimizer")


def features(windows: np.ndarray) -> np.ndarray:
    """Mean size of the values, and whether one is large."""
    return np.stack([np.abs(windows).mean(1) / 0.05, windows.max(1) > 0.8], axis=1)


def nearest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    centres = np.stack([train[labels == label].mean(0) for label in range(n)])
    return np.linalg.norm(test[:, None] - centres, axis=2).argmin(1)


class Nearest(Method):
    """The class whose mean features are nearest."""

    def fit(self, task) -> None:
        view = task.view("train", fixed=True)
        self.known = features(view[:][0].numpy()), view.labels.numpy(), task.n_classes

    def predict(self, view) -> np.ndarray:
        train, labels, n = self.known
        return nearest(train, labels, features(view[:][0].numpy()), n)


def without_norm(accuracy: float) -> Path:
    """Return trainings without batch norm that end at ``accuracy``; no weight is large."""
    return dataset_folder(f"without-norm-{accuracy}", lambda folder: _write(folder, accuracy)) / "nws"


def _write(folder: Path, accuracy: float) -> None:
    staged = []
    for index in range(60):
        record = planted_record("random", index, index)
        hyperparameters = replace(record.hyperparameters, batch_norm=False)
        weights = record.weights[:, : Architecture.of(hyperparameters).n_weights].clip(max=0.5)
        curve = (*record.test_accuracy[:-1], accuracy)
        staged.append(folder / f"{record.training}.safetensors")
        replace(record, hyperparameters=hyperparameters, weights=weights, test_accuracy=curve).save(staged[-1])
    write(folder / "nws", "random", staged)
    for path in staged:
        path.unlink()


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Datasets with and without batch norm: augmentation scales all weights, norm values tell the image set."""
    return write_planted(tmp_path_factory.mktemp("norm"), ["random"]), without_norm(0.99)


@pytest.fixture(scope="module")
def source(roots: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(
        roots[0],
        Path("nowhere"),
        TARGETS,
        METHOD,
        without_batch_norm=roots[1],
        kept=tmp_path_factory.mktemp("kept"),
    )


@pytest.fixture(scope="module")
def tables(source: Source) -> dict[str, pd.DataFrame]:
    return measure(source)


def cut(data: nws_data.NWSDataset, row: int, strip: bool) -> np.ndarray:
    """The ten windows of a vector, cut by hand."""
    vector = data.vector(row).numpy()
    if strip:
        layers = Architecture.of(data.hyperparameters(row)).layers
        gone = [np.arange(t.start, t.stop) for layer in layers for t in layer.tensors if t.kind != "kernel"]
        vector = np.delete(vector, np.concatenate(gone))
    starts = np.rint(np.linspace(0, len(vector) - 5000, 10)).astype(int)
    return np.stack([vector[start : start + 5000] for start in starts])


def by_hand(root: Path, target: str) -> dict[bool, dict[str, int]]:
    """How many of its ten windows are right for each training, by stripped."""
    data = nws_data.open(root, "random").select(last=2)
    values = sorted(set(data[target].tolist()), key=data.classes(target).index)
    right: dict[bool, dict[str, int]] = {False: {}, True: {}}
    for fold in range(5):
        task = nws_data.load_task(f"local/{target}/fold={fold}", root)  # its balance is that of other tests
        ids = {side: set(task.view(side).data["training"].tolist()) for side in ("train", "test")}
        assert all(fold_split_of(training, fold) == side for side in ids for training in ids[side])
        rows = {side: [i for i in range(len(data)) if data["training"][i] in ids[side]] for side in ids}
        rows["test"] = [i for i in rows["test"] if data["snapshot"][i] == 19]
        labels = {side: [values.index(data[target].tolist()[i]) for i in rows[side]] for side in rows}
        train = features(np.concatenate([cut(data, i, False) for i in rows["train"]]))
        for strip, found in right.items():
            for i, label in zip(rows["test"], labels["test"], strict=True):
                told = nearest(train, np.repeat(labels["train"], 10), features(cut(data, i, strip)), len(values))
                found[str(data["training"][i])] = int((told == label).sum())
    return right


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "target"), [(True, "dataset"), (True, "augmentation"), (False, "augmentation")])
def test_accuracies_and_differences_by_hand(
    roots: tuple[Path, Path], tables: dict[str, pd.DataFrame], norm: bool, target: str
) -> None:
    right = by_hand(roots[0 if norm else 1], target)
    cases = tables["cases"].set_index(["target", "batch_norm", "stripped"])
    for strip, found in right.items():
        row = cases.loc[(target, norm, strip)]
        assert row["trainings"] == len(found) and row["accuracy"] == pytest.approx(sum(found.values()) / 10 / len(found))
    gain = np.array([right[True][t] - right[False][t] for t in right[True]]) / 10
    half = 1.959964 * gain.std(ddof=1) / np.sqrt(len(gain))
    differences = tables["differences"].set_index(["target", "what"])
    row = differences.loc[(target, f"stripped, {'with' if norm else 'without'} batch norm")]
    assert row["estimate"] == pytest.approx(gain.mean())
    assert (row["low"], row["high"]) == pytest.approx((gain.mean() - half, gain.mean() + half), abs=1e-6)


@pytest.mark.slow
def test_what_norm_values_tell_is_lost_and_what_kernels_tell_stays(
    roots: tuple[Path, Path], tables: dict[str, pd.DataFrame]
) -> None:
    cases = tables["cases"].set_index(["target", "batch_norm", "stripped"])
    assert cases.loc[("dataset", True, False), "accuracy_low"] > cases.loc[("dataset", True, False), "chance"]
    stripped = cases.loc[("dataset", True, True)]
    assert stripped["accuracy_low"] <= stripped["chance"] <= stripped["accuracy_high"]
    assert (cases.loc["augmentation"]["accuracy"] > 0.95).all()
    for _, row in cases.loc["optimizer"].iterrows():  # nothing was planted
        assert row["accuracy_low"] <= row["chance"]
    differences = tables["differences"].set_index(["target", "what"])
    assert differences.loc[("dataset", "stripped, with batch norm"), "high"] < 0
    own = differences.loc[("dataset", "without batch norm")]
    ends = [cases.loc[("dataset", norm, False), "accuracy"] for norm in (False, True)]
    assert own["estimate"] == pytest.approx(ends[0] - ends[1])
    both = [by_hand(root, "dataset")[False] for root in roots]
    parts = [np.var([right / 10 for right in found.values()], ddof=1) / len(found) for found in both]
    assert own["high"] - own["estimate"] == pytest.approx(1.959964 * np.sqrt(sum(parts)), abs=1e-6)
    text = tell(tables)
    assert "100% of 60 trainings with batch norm and 100% of 60 trainings without" in text and "dataset by -" in text
    with theme():
        assert set(draw(tables)) == {"cases"}


def test_fits_are_kept_and_damaged_ones_made_again(source: Source, tables: dict[str, pd.DataFrame]) -> None:
    assert source.kept is not None
    files = sorted(source.kept.glob("batch-norm-*.npz"))
    assert len(files) == 2 * 5 * len(TARGETS)
    before = {path: path.stat().st_mtime_ns for path in files}
    content = files[0].read_bytes()
    files[0].write_bytes(content[:100])
    again = measure(source)
    assert all(again[name].equals(tables[name]) for name in tables) and files[0].read_bytes() == content
    assert [path for path in files if path.stat().st_mtime_ns != before[path]] == files[:1]


def test_one_dataset_is_enough_and_the_wrong_one_is_refused(source: Source) -> None:
    found = measure(replace(source, without_batch_norm=None))
    assert found["cases"]["batch_norm"].all() and "give them by --without-batch-norm" in tell(found)
    with pytest.raises(MissingDataError, match="--without-batch-norm takes trainings without batch norm"):
        measure(replace(source, without_batch_norm=source.root))


def test_too_few_trainings(tiny_dataset: TinyDataset) -> None:
    with pytest.raises(MissingDataError, match="no hyper-parameter has enough trainings that pass"):
        measure(Source(tiny_dataset.root, Path("nowhere"), ("filter_size",)))


@pytest.mark.slow
def test_trainings_of_one_threshold_are_compared(roots: tuple[Path, Path], tmp_path: Path) -> None:
    source = Source(roots[0], tmp_path, ("augmentation",), METHOD, without_batch_norm=without_norm(0.2))
    found = measure(source)
    assert found["cases"]["above"].eq(0.15).all() and set(found["cases"]["batch_norm"]) == {True, False}
    assert "Too few are left for augmentation: those are of trainings above 15% accuracy." in tell(found)
