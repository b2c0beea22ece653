"""The rendered card, read by the ``datasets`` library in a process of its own that never imports nws_data."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nws_data
from nws_data.cli import main
from nws_data.errors import FormatError
from nws_data.format.card import render_card, yaml_features
from nws_data.format.metadata import SNAPSHOT_SCHEMA, TRAINING_SCHEMA
from nws_data.space.architecture import Architecture
from nws_data.write.writer import write_dataset
from tests.conftest import CARD_TEMPLATE, IMAGE_SETS, TinyDataset, make_record, stage, write

CHILD = """
import json, os, sys
from datasets import get_dataset_config_names, load_dataset

def summary(dataset):
    row = dataset[-1]
    return {"n_rows": len(dataset), "ids": sorted(set(dataset["training"])), "columns": dataset.column_names, "last": row}

out = {"configs": get_dataset_config_names("nws")}
for config in [None, *out["configs"]]:
    loaded = load_dataset("nws", config) if config else load_dataset("nws")
    out[str(config)] = {split: summary(dataset) for split, dataset in loaded.items()}
"""
# Once is enough: streaming imports torch.
STREAMED = """
from datasets import load_dataset_builder

out["features"] = {config: load_dataset("nws", config, split="train").features._to_yaml_list() for config in out["configs"]}
first = out["configs"][0]
out["streamed"] = [row["training"] for row in load_dataset("nws", first, split="train", streaming=True)]
out["streamed_trainings"] = [row["layers"] for row in load_dataset("nws", "trainings", split="train", streaming=True)]
splits = load_dataset_builder("nws", first).info.splits
out["announced"] = {name: (split.num_examples, split.num_bytes > 0) for name, split in splits.items()}
out["imported"] = "nws_data" in sys.modules
"""
PRINTED = """
print(json.dumps(out), flush=True)
os._exit(0)  # streamed Parquet can abort the interpreter's own way out (threads of pyarrow); not what is tested
"""


def load_in_child(parent: Path, cache: Path, more: str = "") -> Any:
    """Run CHILD and more code in the folder that holds ``nws``; return the JSON that it printed."""
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_MODULES_CACHE"):
        environment.pop(name, None)
    command = [sys.executable, "-c", CHILD + more + PRINTED]
    done = subprocess.run(command, cwd=parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ignoring" not in done.stderr  # a card that datasets does not understand is only warned about
    return json.loads(done.stdout.splitlines()[-1])


def ids(tiny: TinyDataset, population: str, split: str) -> list[str]:
    records = (tiny.record(path.stem) for path in tiny.staged[population])
    return sorted(record.training for record in records if record.split == split)


@pytest.fixture(scope="module")
def loaded(tiny_dataset: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    parent = tmp_path_factory.mktemp("parent")
    (parent / "nws").symlink_to(tiny_dataset.root)
    blocks = re.findall(r"```python\n(.*?)```", (tiny_dataset.root / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    told = 'out["card"] = [snapshots[0]["training"], vector.tolist()]'
    return load_in_child(parent, parent / "cache", "\n".join([STREAMED, *blocks, told]))


@pytest.mark.slow
def test_every_config_and_split_loads_without_our_package(tiny_dataset: TinyDataset, loaded: dict[str, Any]) -> None:
    assert loaded["imported"] is False
    assert loaded["configs"] == ["fixed", "random", "trainings"]
    assert loaded["None"] == loaded["fixed"]
    assert loaded["announced"] == {"train": [80, True], "validation": [20, True], "test": [60, True]}
    for split in ("train", "validation", "test"):
        members = {population: ids(tiny_dataset, population, split) for population in ("fixed", "random")}
        for population in members:
            assert loaded[population][split]["ids"] == members[population]
            assert loaded[population][split]["n_rows"] == 20 * len(members[population])
        assert loaded["trainings"][split]["ids"] == members["fixed"] + members["random"]
    last = loaded["fixed"]["train"]["last"]
    assert last["test_accuracy"] == tiny_dataset.record(last["training"]).test_accuracy[-1]
    assert loaded["random"]["train"]["columns"] == SNAPSHOT_SCHEMA.names
    assert loaded["trainings"]["train"]["columns"] == TRAINING_SCHEMA.names
    assert sorted(set(loaded["streamed"])) == ids(tiny_dataset, "fixed", "train")
    assert loaded["streamed_trainings"][0][0]["shape"] == [8, 3, 5, 5]


def test_features_are_written_as_the_library_writes_them(loaded: dict[str, Any]) -> None:
    assert loaded["features"]["random"] == yaml_features(SNAPSHOT_SCHEMA)
    assert loaded["features"]["trainings"] == yaml_features(TRAINING_SCHEMA)


@pytest.mark.slow
def test_same_cache_shows_new_rows_after_extension_and_rebuild(tmp_path: Path) -> None:
    """First two trainings, none of validation, then more, then other ones under the names of the first."""
    records = stage(tmp_path / "staged", "random", range(6))
    write(tmp_path / "nws", "random", records[:2])
    (tmp_path / "nws" / ".build").mkdir()
    shutil.copy(records[0], tmp_path / "nws" / ".build")
    shutil.copy(tmp_path / "nws" / "manifest.json", tmp_path / "nws" / ".build" / "train.json")
    first = load_in_child(tmp_path, tmp_path / "cache")
    assert first["configs"] == ["random", "trainings"]
    assert {split: found["ids"] for split, found in first["None"].items()} == {
        "train": ["random-000000"],
        "test": ["random-000001"],
    }
    write(tmp_path / "nws", "random", records)
    second = load_in_child(tmp_path, tmp_path / "cache")
    assert {split: found["n_rows"] for split, found in second["random"].items()} == {
        "train": 40,
        "validation": 20,
        "test": 60,
    }
    assert second["trainings"]["train"]["ids"] == ["random-000000", "random-000005"]
    shutil.rmtree(tmp_path / "nws")
    write(tmp_path / "nws", "random", [records[1], records[5]])
    third = load_in_child(tmp_path, tmp_path / "cache")
    before, after = first["random"]["train"], third["random"]["train"]
    assert (before["n_rows"], before["ids"]) == (20, ["random-000000"])
    assert (after["n_rows"], after["ids"]) == (20, ["random-000005"])


def test_code_in_the_card_runs(tiny_dataset: TinyDataset, loaded: dict[str, Any]) -> None:
    training, vector = loaded["card"]
    assert vector == tiny_dataset.record(training).weights[0].tolist()


def test_card_text_holds_real_figures(tiny_dataset: TinyDataset) -> None:
    text = (tiny_dataset.root / "README.md").read_text().partition("\n---\n")[2]
    assert "32 small convolutional image classifiers" in text
    assert "640 weight vectors, 100.6 MB" in text
    assert "| train | 4 | 80 |" in text
    assert f"`{tiny_dataset.manifest.data_digest}`" in text
    assert "92,868 values a snapshot" in text
    assert "| mnist | 60 | 20 | 80 | made up for tests: mnist |" in text
    assert "non-finite: 1." in text
    for statement in (
        "deliberate deviation",
        "CC BY 4.0",
        "Eilertsen",
        "## Motivation",
        'load_dataset("nws", "fixed"',
    ):
        assert statement in text


def rendered(folder: Path, plan: dict[str, Any], **changes: Any) -> str:
    """Return the card's text, one line, of one small training under a plan."""
    record = make_record("random", 1)
    record = replace(record, **changes) if changes else record
    folder.mkdir(exist_ok=True)
    record.save(folder / "staged")
    populations = {"random": (plan, [folder / "staged"])}
    write_dataset(folder / "nws", populations=populations, image_sets=IMAGE_SETS, card_template=CARD_TEMPLATE)
    return " ".join((folder / "nws" / "README.md").read_text().partition("\n---\n")[2].split())


def test_card_says_how_it_was_built(tmp_path: Path) -> None:
    plan = {"build_seed": 5, "epoch_cap": 1000, "precision": "float32", "batch_norm": True}
    text = rendered(tmp_path / "float32", plan)
    facts = "build seed 5, epoch cap 1000, precision float32, batch norm on; image sets: "
    assert re.search(f"- `random`: {facts}(mnist|digits) \\(60 training and 20 test images\\).", text)
    assert "measured in float32 on clean, whole image sets with the running statistics of batch norm." in text
    assert "bfloat16" not in text
    text = rendered(tmp_path / "bfloat16", plan | {"precision": "bfloat16"}, precision="bfloat16")
    assert "Products and activations of the training were computed in bfloat16, weights were kept in float32." in text
    assert "measured in float32" in text


def test_card_without_batch_norm_does_not_speak_of_its_statistics(tmp_path: Path) -> None:
    record = make_record("random", 1)
    hyperparameters = replace(record.hyperparameters, batch_norm=False)
    weights = np.zeros((20, Architecture.of(hyperparameters).n_weights), np.float32)
    text = rendered(tmp_path, {"build_seed": 5, "batch_norm": False}, hyperparameters=hyperparameters, weights=weights)
    assert "batch norm off" in text
    assert "running statistics" not in text and "before batch norm" not in text


def test_card_promises_nothing_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(CARD_TEMPLATE.split())
    names = set(re.findall(r"`nws_data\.(\w+)", text))
    assert names and names <= set(nws_data.__all__)
    commands = set(re.findall(r"`nws (\w+)", text))
    with pytest.raises(SystemExit):
        main(["--help"])
    assert commands and commands <= set(capsys.readouterr().out.split())


def test_front_matter_names_the_exact_files(tiny_dataset: TinyDataset) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(tiny_dataset.root / "README.md").data.to_dict()
    assert card["license"] == "cc-by-4.0"
    fixed, random, trainings = card["configs"]
    assert (fixed["default"], "default" in random, trainings["config_name"]) == (True, False, "trainings")
    for config in card["configs"]:
        for item in config["data_files"]:
            assert (tiny_dataset.root / item["path"]).is_file()
    assert [(s["name"], s["num_examples"]) for s in card["dataset_info"][0]["splits"]] == [
        ("train", 80),
        ("validation", 20),
        ("test", 60),
    ]


def test_unknown_placeholder_is_refused(tiny_dataset: TinyDataset) -> None:
    with pytest.raises(FormatError, match=r"unknown placeholder: got 'moon'; choose one of n_trainings"):
        render_card(tiny_dataset.root, tiny_dataset.manifest, CARD_TEMPLATE + "{moon}")
