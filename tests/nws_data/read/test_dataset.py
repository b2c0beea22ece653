"""Opening, columns and selections of the tiny datasets that the real writer wrote."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nws_data.read.dataset as nws
from nws_data.errors import ArgumentError, FormatError, SelectionError, ShardsAbsentError
from nws_data.format.manifest import Manifest
from nws_data.read.columns import derived_columns, split_positions
from nws_data.read.selection import last_of_each, matches
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import split_of
from tests.conftest import write


@pytest.fixture(scope="module")
def random_data(tiny_dataset: Any) -> nws.NWSDataset:
    return nws.open(tiny_dataset.root, "random")


def test_all_vectors_are_those_staged(tiny_dataset: Any) -> None:
    for population in ("fixed", "random"):
        data = nws.open(tiny_dataset.root, population)
        weights = {t: tiny_dataset.record(t).weights for t in np.unique(data["training"]).tolist()}
        assert len(data) == 20 * len(weights)
        for row, (training, snapshot) in enumerate(zip(data["training"].tolist(), data["snapshot"].tolist(), strict=True)):
            np.testing.assert_array_equal(data.vector(row).numpy(), weights[training][snapshot])


def test_metadata_are_those_staged(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    for row in range(0, len(random_data), 37):
        record = tiny_dataset.record(random_data["training"][row].item())
        epoch = record.snapshot_epochs[random_data["snapshot"][row]]
        assert random_data.hyperparameters(row) == record.hyperparameters
        assert random_data["epoch"][row] == epoch
        assert random_data["test_accuracy"][row] == record.test_accuracy[epoch]
        assert random_data["split"][row] == split_of(record.training)
        assert random_data["final_test_accuracy"][row] == record.test_accuracy[-1]
        assert random_data["passed"][row] == (
            record.test_accuracy[-1] > {"mnist": 0.8, "digits": 0.5}[record.hyperparameters.dataset]
        )
        assert random_data["generalisation_gap"][row] == record.train_accuracy[epoch] - record.test_accuracy[epoch]
        assert random_data["progress"][row] == epoch / record.n_epochs


def test_default_population_and_splits(tiny_dataset: Any) -> None:
    data = nws.open(str(tiny_dataset.root))
    assert set(data["population"]) == {"fixed"}
    parts = [nws.open(tiny_dataset.root, split=split) for split in tiny_dataset.manifest.populations["fixed"].splits]
    assert sum(map(len, parts)) == len(data)
    assert set(parts[0]["split"]) == {"train"}


def test_unknown_population_split_and_column(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    with pytest.raises(SelectionError, match="population: got 'big'; choose one of fixed, random"):
        nws.open(tiny_dataset.root, "big")
    with pytest.raises(SelectionError, match="split of random: got 'dev'; choose one of train"):
        nws.open(tiny_dataset.root, "random", "dev")
    with pytest.raises(
        SelectionError, match=r"column: got 'optimiser' \(did you mean optimizer\?\); choose one of training, "
    ):
        random_data["optimiser"]


@pytest.mark.parametrize("read", [lambda d: d[0], list, lambda d: d[d["finite"]], lambda d: d[:3], lambda d: "x" in d])
def test_rows_are_no_items(random_data: nws.NWSDataset, read: Any) -> None:
    with pytest.raises(SelectionError, match=r"columns by name.*rows by take\(\), vector\(\) or model\(\)"):
        read(random_data)


def test_repr_names_population_and_split(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    root = str(tiny_dataset.root)
    assert repr(random_data) == (f"NWSDataset({root!r}, random, train + validation + test: 480 snapshots of 24 trainings)")
    test = nws.open(root, "fixed", "test")
    assert repr(test) == f"NWSDataset({root!r}, fixed, test: 60 snapshots of 3 trainings)"
    assert repr(test.take(np.array([], int))) == f"NWSDataset({root!r}: 0 snapshots of 0 trainings)"


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"give the folder that holds manifest\.json"):
        nws.open(tmp_path)


def test_unknown_format_version(tiny_dataset: Any, tmp_path: Path) -> None:
    content = json.loads((tiny_dataset.root / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(content | {"format_version": 3}))
    with pytest.raises(FormatError, match="format version 3, this nws_data reads version 1, 2; upgrade nws-data"):
        nws.open(tmp_path)


def test_metadata_of_another_build(tiny_dataset: Any, tmp_path: Path) -> None:
    """The validation split's rows under the train split's name."""
    shutil.copytree(tiny_dataset.root, tmp_path / "nws", ignore=shutil.ignore_patterns("weights"))
    splits = tiny_dataset.manifest.populations["random"].splits
    shutil.copy(tiny_dataset.root / splits["test"].metadata, tmp_path / "nws" / splits["train"].metadata)
    with pytest.raises(FormatError, match="altered: its SHA-256 is not the recorded one"):
        nws.open(tmp_path / "nws", "random")


def test_a_split_needs_only_its_own_shards(tiny_dataset: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny_dataset.root, tmp_path / "nws", ignore=shutil.ignore_patterns("train-*.safetensors"))
    data = nws.open(tmp_path / "nws", "random", "test")
    assert data.vector(0).isfinite().all()
    with pytest.raises(ShardsAbsentError, match="of random are not here; fetch what `nws verify"):
        nws.open(tmp_path / "nws", "random", "train")


def test_select_by_value_collection_and_callable(random_data: nws.NWSDataset) -> None:
    adam = random_data.select(optimizer="adam")
    assert set(adam["optimizer"]) == {"adam"}
    assert len(adam) == (random_data["optimizer"] == "adam").sum()
    some = random_data.select(snapshot=[0, 19], augmentation=True, depth_fc=np.array([3, 4]))
    expected = np.isin(random_data["snapshot"], [0, 19]) & random_data["augmentation"] & (random_data["depth_fc"] < 5)
    assert (some["training"] == random_data["training"][expected]).all() and len(some)
    slow = random_data.select(learning_rate=lambda x: x < 0.002, finite=True)
    assert (slow["learning_rate"] < 0.002).all() and slow["finite"].all() and len(slow)
    row = int(np.flatnonzero(expected)[3])
    assert torch.equal(some.vector(3), random_data.vector(row))


def test_a_condition_needs_its_column(random_data: nws.NWSDataset) -> None:
    with pytest.raises(SelectionError, match=r"by column, such as select\(optimizer='adam'\), got 'adam'"):
        random_data.select("adam")


def test_a_relative_folder_is_that_of_the_opening(
    tiny_dataset: Any, random_data: nws.NWSDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_dataset.root.parent)
    data = nws.open("nws", "random")
    monkeypatch.chdir(tmp_path)
    assert data.root == tiny_dataset.root and torch.equal(data.vector(3), random_data.vector(3))
    monkeypatch.setenv("HOME", str(tiny_dataset.root.parent))
    assert nws.open("~/nws", "random").root == nws.open(Path("~/nws")).root == tiny_dataset.root


def test_a_dataset_that_was_extended_since(tiny_dataset: Any, tmp_path: Path) -> None:
    write(tmp_path, "fixed", tiny_dataset.staged["fixed"][:2])
    data = nws.open(tmp_path)
    vector = data.vector(0)
    write(tmp_path, "fixed", tiny_dataset.staged["fixed"])
    with pytest.raises(FormatError, match="the dataset was changed since it was opened: open it again"):
        data.trainings()
    assert len(nws.open(tmp_path).trainings()) == 8 and torch.equal(data.vector(0), vector)
    (tmp_path / next(iter(nws.open(tmp_path).manifest.trainings.values()))).unlink()
    with pytest.raises(FormatError, match=r"cannot be read \(No such file"):
        nws.open(tmp_path).trainings()


def test_a_dataset_that_was_built_anew_since(tiny_dataset: Any, tmp_path: Path) -> None:
    """Its shards have the old layout and other weights."""
    (path,) = tiny_dataset.staged["fixed"][:1]
    record = tiny_dataset.record(path.stem)
    write(tmp_path / "nws", "fixed", [path])
    data, mapped = nws.open(tmp_path / "nws"), nws.open(tmp_path / "nws")
    mapped.vector(0)
    shutil.rmtree(tmp_path / "nws")
    replace(record, weights=-record.weights).save(tmp_path / path.name)
    write(tmp_path / "nws", "fixed", [tmp_path / path.name])
    with pytest.raises(FormatError, match="the dataset was built again since it was opened: open it again"):
        data.vector(0)
    np.testing.assert_array_equal(mapped.vector(3), record.weights[3])
    np.testing.assert_array_equal(nws.open(tmp_path / "nws").vector(3), -record.weights[3])


def test_select_by_numpy_values(random_data: nws.NWSDataset) -> None:
    adam = random_data.select(optimizer="adam")
    for condition in (np.array("adam"), np.array(["adam"]), np.str_("adam")):
        assert len(random_data.select(optimizer=condition)) == len(adam)
    for last in (2.5, True):
        with pytest.raises(ArgumentError, match=f"at least 1, got {last}"):
            random_data.select(last=last)


def test_select_last_snapshots(random_data: nws.NWSDataset) -> None:
    assert set(random_data.select(last=4)["snapshot"]) == {16, 17, 18, 19}
    assert len(random_data.select(last=4)) == len(random_data) // 5
    assert set(random_data.select(snapshot=lambda s: s < 7, last=2)["snapshot"]) == {5, 6}
    assert set(random_data.select(last=1, snapshot=19)["snapshot"]) == {19}


def test_select_finite_and_passed(random_data: nws.NWSDataset) -> None:
    assert "random-000006" not in random_data.select(finite=True)["training"]
    assert set(random_data.select(finite=False)["training"]) == {"random-000006"}
    assert 0 < len(random_data.select(passed=True)) < len(random_data)


def test_selections_that_cannot_be(random_data: nws.NWSDataset) -> None:
    with pytest.raises(SelectionError, match="optimizer: no row has 'sgd'; choose among 'adam', "):
        random_data.select(optimizer="sgd")
    with pytest.raises(SelectionError, match="snapshot: no row has 20; choose among 20 values from 0 to 19"):
        random_data.select(snapshot=[19, 20])
    with pytest.raises(ArgumentError, match="last must be at least 1, got 0"):
        random_data.select(last=0)
    with pytest.raises(SelectionError, match="must return a bool mask"):
        random_data.select(epoch=lambda e: e[:3])
    with pytest.raises(SelectionError, match="column: got 'colour'"):
        random_data.select(colour="red")
    nothing = random_data.select(epoch=lambda e: e < 0)
    assert len(nothing) == 0
    with pytest.raises(SelectionError, match="the selection is empty"):
        nothing.select(optimizer="adam")


def test_last_of_each_by_hand() -> None:
    groups, order = np.array(["b", "a", "b", "a", "b"]), np.array([3, 0, 1, 9, 2])
    assert last_of_each(groups, order, 2).tolist() == [True, True, False, True, True]


def test_a_bool_is_no_string() -> None:
    with pytest.raises(SelectionError, match="choose among False, True"):
        matches("augmentation", np.array([True, False]), "on")


def test_labels(random_data: nws.NWSDataset) -> None:
    assert random_data.classes("dataset") == ("mnist", "digits")
    for name in CLASSES:
        labels, classes = random_data.labels(name), random_data.classes(name)
        assert name == "dataset" or classes == CLASSES[name]
        assert labels.dtype == np.int64 and [classes[i] for i in labels] == random_data[name].tolist()
    assert random_data.take(np.arange(0)).labels("optimizer").shape == (0,)
    assert random_data.labels("test_accuracy").dtype == np.float32
    np.testing.assert_array_equal(random_data.labels("passed"), random_data["passed"])
    with pytest.raises(SelectionError, match="target: got 'training'; choose one of dataset, "):
        random_data.labels("training")
    with pytest.raises(SelectionError, match="not a classed column: got 'epoch'"):
        random_data.classes("epoch")


def test_architectures(random_data: nws.NWSDataset) -> None:
    found, which = random_data.architectures()
    assert sorted(a.depth_fc for a in found) == [3, 4, 5]
    for row in range(0, len(random_data), 50):
        assert found[which[row]] == Architecture.of(random_data.hyperparameters(row))
        assert found[which[row]].n_weights == len(random_data.vector(row))


def test_tables(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    frame = random_data.to_pandas()
    assert isinstance(frame, pd.DataFrame) and len(frame) == len(random_data) and set(frame) == set(random_data.columns)
    chosen = random_data.select(split="test", optimizer="adam")
    trainings = chosen.trainings()
    assert trainings["training"].tolist() == sorted(set(chosen["training"]))
    record = tiny_dataset.record(trainings["training"][0])
    assert trainings["seed"][0] == record.seed
    assert tuple(trainings["test_accuracy"][0]) == record.test_accuracy


def test_rows_out_of_range(random_data: nws.NWSDataset) -> None:
    assert torch.equal(random_data.vector(-1), random_data.vector(len(random_data) - 1))
    with pytest.raises(IndexError, match="row 480 is out of range"):
        random_data.vector(480)
    with pytest.raises(TypeError):
        random_data.vector(1.5)  # type: ignore[arg-type]


def test_pickles(random_data: nws.NWSDataset) -> None:
    again = pickle.loads(pickle.dumps(random_data))
    assert torch.equal(again.vector(77), random_data.vector(77))
    assert repr(again) == repr(random_data) and "480 snapshots of 24 trainings" in repr(again)


def test_thresholds_are_above_not_at() -> None:
    columns = {
        "training": np.array(["a", "a", "b", "b"]),
        "snapshot": np.array([0, 19, 0, 19]),
        "epoch": np.array([0, 30, 0, 0]),
        "train_accuracy": np.array([0.1, 0.9, 0.1, 0.2]),
        "test_accuracy": np.array([0.9, 0.5, 0.1, 0.51]),
        "dataset": np.array(["x", "x", "x", "x"]),
    }
    derived = derived_columns(columns, {"x": 0.5})
    assert derived["passed"].tolist() == [False, False, True, True]
    assert derived["progress"].tolist() == [0, 1, 0, 0]
    with pytest.raises(FormatError, match="lists no image set 'x'"):
        derived_columns(columns, {"mnist": 0.8})


NO_SHARDS = Manifest(image_sets=(), populations={}, trainings={}, provenance="", sha256={})


@pytest.mark.parametrize(
    "change", [{"weights.offset": [402]}, {"weights.nbytes": [36]}, {"weights.row": [1]}, {"weights.key": ["t000001"]}]
)
def test_positions_that_cannot_be(change: dict[str, list[int]]) -> None:
    columns = {"weights.shard": ["s"], "weights.key": ["t000000"], "weights.row": [0], "weights.offset": [400]}
    columns |= {"weights.nbytes": [40], "n_weights": [10], "snapshot": [0], "training": ["random-000000"]} | change
    with pytest.raises(FormatError, match="do not fit"):
        split_positions(Path("nws"), {name: np.array(values) for name, values in columns.items()}, NO_SHARDS)


def test_a_shard_that_the_manifest_does_not_list() -> None:
    columns = {"weights.shard": ["s"], "weights.key": ["t000000"], "weights.row": [0], "weights.offset": [400]}
    columns |= {"weights.nbytes": [40], "n_weights": [10], "snapshot": [0], "training": ["random-000000"]}
    with pytest.raises(FormatError, match="name a shard that the manifest does not list: 's'"):
        split_positions(Path("nws"), {name: np.array(values) for name, values in columns.items()}, NO_SHARDS)


def test_state_dict_and_model(tiny_dataset: Any, random_data: nws.NWSDataset) -> None:
    row = 45
    record = tiny_dataset.record(random_data["training"][row].item())
    weights = record.weights[random_data["snapshot"][row]]
    kernel = record.architecture.layer("conv2")["kernel"]
    state = random_data.state_dict(row)
    np.testing.assert_array_equal(state["conv2.weight"], weights[kernel.slice].reshape(kernel.shape))
    model = random_data.model(row)
    assert not model.training and model(torch.rand(2, 3, 32, 32)).shape == (2, 20)
    found = model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_columns_cannot_be_changed_by_accident(tiny_dataset: Any) -> None:
    data = nws.open(tiny_dataset.root, "fixed").select(last=1)
    with pytest.raises(ValueError, match="read-only"):
        data["test_accuracy"][0] = 1
    data.labels("test_accuracy")[0] = 1  # labels are the caller's own
    assert data["test_accuracy"][0] != 1
