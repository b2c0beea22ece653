import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

from nws_data.errors import FormatError, SelectionError
from nws_data.format.records import TrainingFacts, TrainingRecord, load_facts
from tests.conftest import make_record


@pytest.fixture(scope="module")
def record() -> TrainingRecord:
    return make_record("random", 0)


def test_saved_and_loaded_is_the_same(tmp_path: Path, record: TrainingRecord) -> None:
    path = tmp_path / "new" / "record"
    record.save(path)
    loaded, facts = TrainingRecord.load(path), load_facts(path)
    for field in fields(TrainingFacts):
        assert getattr(loaded, field.name) == getattr(facts, field.name) == getattr(record, field.name)
    assert loaded.weights.dtype == np.float32
    np.testing.assert_array_equal(loaded.weights, record.weights)
    with safe_open(path, framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("weights"), record.weights)


def test_equal_records_give_equal_files(tmp_path: Path, record: TrainingRecord) -> None:
    record.save(tmp_path / "a")
    make_record("random", 0).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_properties_follow_from_id_and_architecture(record: TrainingRecord) -> None:
    test = make_record("random", 1)
    assert (test.population, test.plan_index, test.split) == ("random", 1, "test")
    assert record.architecture.n_weights == record.weights.shape[1]
    assert record.n_epochs == record.snapshot_epochs[-1] == len(record.test_accuracy) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snapshot_epochs": tuple(range(19))}, "20 ascending epochs"),
        ({"snapshot_epochs": (0, *range(19))}, "20 ascending epochs"),
        ({"snapshot_epochs": tuple(range(20, 40))}, "20 ascending epochs"),
        ({"snapshot_stride": 0}, "snapshot_stride must be at least 1, got 0"),
        ({"stop_reason": "bored"}, "got 'bored'; choose one of falling"),
        ({"train_accuracy": (0.5,)}, "train_accuracy has 1 values"),
        ({"training": "random-1000000"}, "plan index must be at most 999999"),
        ({"weights": np.zeros((20, 5), np.float32)}, r"weights must be float32 \(20, 2"),
        ({"weights": np.zeros((20, 21532), np.float64)}, "got float64"),
    ],
)
def test_inconsistent_values_are_refused(record: TrainingRecord, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        replace(record, **change)


def test_accuracies_are_fractions(record: TrainingRecord) -> None:
    for value in (1.5, -0.1, float("nan")):
        with pytest.raises(FormatError, match=r"test_accuracy must be in \[0, 1\]"):
            replace(record, test_accuracy=(*record.test_accuracy[:-1], value))


def test_an_id_that_is_none_is_refused(record: TrainingRecord) -> None:
    with pytest.raises(SelectionError, match="not a training id: 'random-7'"):
        replace(record, training="random-7")


def test_damaged_files_are_refused(tmp_path: Path, record: TrainingRecord) -> None:
    path = tmp_path / "record"
    record.save(path)
    content = path.read_bytes()
    damaged = {
        "not a staged training of NWS: Error while deserializing header": content[:-1],
        "not a staged training of NWS": content[:100],
        "record version 2, this": content.replace(b'\\"record_version\\": 1', b'\\"record_version\\": 2'),
        "got 'FALLING'": content.replace(b"falling", b"FALLING"),
        "unexpected keyword argument 'sEEd'": content.replace(b'\\"seed\\"', b'\\"sEEd\\"'),
        "not a staged training": save({"weights": np.zeros(3, np.float32)}, {"nws_record": "[]"}),
    }
    for message, changed in damaged.items():
        assert changed != content
        path.write_bytes(changed)
        for load in (TrainingRecord.load, load_facts):
            with pytest.raises(FormatError, match=rf"{path}.*{message}"):
                load(path)


@pytest.mark.parametrize("name", ["weights_sha256", "seed", "snapshot_epochs", "record_version"])
def test_a_record_that_lacks_a_fact_is_refused(tmp_path: Path, record: TrainingRecord, name: str) -> None:
    path = tmp_path / "training.safetensors"
    record.save(path)
    with safe_open(path, "numpy") as file:
        facts, weights = json.loads(file.metadata()["nws_record"]), file.get_tensor("weights")
    del facts[name]
    save_file({"weights": weights}, path, {"nws_record": json.dumps(facts)})
    for load in (TrainingRecord.load, load_facts):
        with pytest.raises(FormatError, match=name):
            load(path)
