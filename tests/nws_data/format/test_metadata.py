import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nws_data.errors import FormatError
from nws_data.format.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
    facts_from_rows,
    make_table,
    parquet_bytes,
    provenance_row,
    read_table,
    snapshot_rows,
    training_row,
)
from nws_data.format.records import TrainingFacts, load_facts
from nws_data.format.shards import Position
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import COLUMNS
from tests.conftest import TinyDataset


@pytest.fixture
def facts(tiny_dataset: TinyDataset) -> TrainingFacts:
    return load_facts(tiny_dataset.staged["random"][3])


def test_columns_are_those_of_format_md() -> None:
    accuracies = ["train_accuracy", "validation_accuracy", "test_accuracy"]
    lengths = ["n_weights", "n_weights_conv"]
    assert SNAPSHOT_SCHEMA.names == ["training", "snapshot", "epoch", *accuracies, *COLUMNS, *lengths, "finite", "weights"]
    assert TRAINING_SCHEMA.names[:5] == ["training", "population", "split", "plan_index", "seed"]
    assert set(COLUMNS) < set(TRAINING_SCHEMA.names)
    types = {field.name: str(field.type) for field in SNAPSHOT_SCHEMA}
    assert {types[name] for name in [*accuracies, "learning_rate"]} == {"double"}
    assert {types[name] for name in ("batch_size", "width_fc", "snapshot", "n_weights")} == {"int32"}
    assert types["weights"] == "struct<shard: string, key: string, row: int32, offset: int64, nbytes: int64>"


def test_rows_of_a_training(facts: TrainingFacts) -> None:
    n = facts.architecture.n_weights
    rows = snapshot_rows(facts, False, "weights/random/test-00000.safetensors", Position(1000, 80 * n, n))
    assert [row["snapshot"] for row in rows] == list(range(20))
    last = rows[19]
    assert last["epoch"] == facts.n_epochs
    assert last["test_accuracy"] == facts.test_accuracy[-1]
    assert last["weights"]["key"] == "t000003"
    assert last["weights"]["offset"] == 1000 + 19 * 4 * n
    assert last["weights"]["nbytes"] == 4 * n
    assert rows[0]["train_accuracy"] == facts.train_accuracy[0]
    assert not any(row["finite"] for row in rows) and training_row(facts, True)["finite"]
    assert all(row["dataset"] == facts.hyperparameters.dataset for row in rows)


def test_layers_lead_to_the_tensors(facts: TrainingFacts) -> None:
    vector = np.arange(facts.architecture.n_weights)
    layers = training_row(facts, True)["layers"]
    assert [(layers[0]["layer"], layers[0]["kind"], layers[0]["shape"])] == [("conv1", "kernel", [4, 3, 3, 3])]
    pieces = [vector[layer["start"] : layer["stop"]].reshape(layer["shape"]) for layer in layers]
    np.testing.assert_array_equal(np.concatenate([piece.ravel() for piece in pieces]), vector)
    assert layers[-1]["stop"] == Architecture.of(facts.hyperparameters).n_weights


def test_rows_give_the_training_back(facts: TrainingFacts) -> None:
    assert facts_from_rows(training_row(facts, True), provenance_row(facts)) == facts


def test_parquet_bytes_repeat_and_hold_the_table(facts: TrainingFacts) -> None:
    table = make_table([training_row(facts, True)], TRAINING_SCHEMA)
    content = parquet_bytes(table)
    assert content == parquet_bytes(make_table([training_row(facts, True)], TRAINING_SCHEMA))
    read = pq.read_table(pa.BufferReader(content))
    assert read.to_pylist() == table.to_pylist()
    assert read.column("seed").to_pylist() == [facts.seed]
    assert read.schema.metadata is None  # nothing that ties the file to this package


def test_tables_sort_by_population_plan_index_and_snapshot(tiny_dataset: TinyDataset) -> None:
    staged = [load_facts(path) for paths in tiny_dataset.staged.values() for path in paths]
    late = make_table(map(provenance_row, staged[9::-1]), PROVENANCE_SCHEMA)
    both = make_table(map(provenance_row, staged[:9:-1]), PROVENANCE_SCHEMA, late)
    assert both["training"].to_pylist() == [facts.training for facts in staged]


def test_file_names_hold_the_digest(tiny_dataset: TinyDataset) -> None:
    for path, sha256 in tiny_dataset.manifest.sha256.items():
        assert hashlib.sha256((tiny_dataset.root / path).read_bytes()).hexdigest() == sha256
        assert path.endswith(f"-{sha256[:12]}.parquet")


def test_damaged_and_foreign_tables_are_refused(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    manifest = tiny_dataset.manifest
    path = manifest.trainings["train"]
    (tmp_path / path).parent.mkdir(parents=True)
    with pytest.raises(FormatError, match="cannot be read"):
        read_table(tmp_path, manifest, path)
    (tmp_path / path).write_bytes((tiny_dataset.root / path).read_bytes()[:-10])
    with pytest.raises(FormatError, match="altered: its SHA-256 is not the recorded one"):
        read_table(tmp_path, manifest, path)
    other = (tiny_dataset.root / manifest.populations["fixed"].splits["train"].metadata).read_bytes()
    for content, message in ((other, "rows, expected"), (b"PAR1", "not a table")):
        (tmp_path / path).write_bytes(content)
        named = replace(manifest, sha256={path: hashlib.sha256(content).hexdigest()})
        with pytest.raises(FormatError, match=message):
            read_table(tmp_path, named, path)
    columns = read_table(tiny_dataset.root, manifest, path, ("seed", "training")).column_names
    assert columns == ["seed", "training"]


@pytest.mark.parametrize(
    ("column", "other"), [("snapshot", pa.string()), ("n_weights", pa.int64()), ("test_accuracy", pa.float32())]
)
def test_a_column_of_another_type_is_refused(
    tiny_dataset: TinyDataset, tmp_path: Path, column: str, other: pa.DataType
) -> None:
    """It could be cast; but readers that do not cast would give other values."""
    manifest = tiny_dataset.manifest
    path = manifest.populations["fixed"].splits["train"].metadata
    table = pq.read_table(tiny_dataset.root / path)
    place = table.column_names.index(column)
    content = parquet_bytes(table.set_column(place, column, table[column].cast(other)))
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(content)
    named = replace(manifest, sha256={path: hashlib.sha256(content).hexdigest()})
    with pytest.raises(FormatError, match=f"{column} is of type {other}"):
        read_table(tmp_path, named, path)
