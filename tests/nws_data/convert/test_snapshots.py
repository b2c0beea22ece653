"""Datasets that hold some of the snapshots of each training: their bytes, and everything that reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

import nws_data
from benchmarks.findings import importance
from benchmarks.findings.source import MissingDataError, Source
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.convert.diff import diff
from nws_data.convert.merge import merge
from nws_data.convert.subset import subset
from nws_data.errors import BuildError, FormatError, SelectionError, TaskNotAvailableError
from nws_data.format.manifest import Manifest
from nws_data.plot import style
from nws_data.plot.training import caption, load_training
from nws_data.plot.trajectory import draw_trajectory
from nws_data.plot.weights import draw_weights
from nws_data.write.writer import check_appendable
from tests.conftest import NON_FINITE, TinyDataset, make_record, stage, write
from tests.crash.compare import differences
from tests.nws_data.format.forging import seal

SOME, EARLY = (0, 10, 19), (3, 10)


@pytest.fixture(scope="module")
def some(tiny_dataset: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both populations, as the command writes them."""
    out = tmp_path_factory.mktemp("some") / "nws"
    assert main(["subset", str(tiny_dataset.root), "--snapshots", "19", "0", "10", "10", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def early(tiny_dataset: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven random trainings, one of them not finite in snapshot 19, which is not here."""
    out = tmp_path_factory.mktemp("early") / "nws"
    subset(tiny_dataset.root, out, ["plan_index<11"], populations=["random"], snapshots=EARLY)
    return out


def test_its_bytes_are_those_of_format_md(tiny_dataset: TinyDataset, some: Path) -> None:
    content = json.loads((some / "manifest.json").read_bytes())
    assert (content["format_version"], content["snapshots"]) == (2, [0, 10, 19])
    entry = content["populations"]["random"]["splits"]["test"]
    assert entry["n_snapshots"] == 3 * entry["n_trainings"] > 0
    for path in some.glob("weights/*/*.safetensors"):
        tensors = load_file(path)
        for key, values in tensors.items():
            staged = tiny_dataset.record(f"{path.parent.name}-{key[1:]}").weights
            assert np.array_equal(values, staged[list(SOME)], equal_nan=True)
        with safe_open(path, framework="np") as file:
            text = file.metadata()["nws"]
        values = {"format_version": 2, "population": path.parent.name, "snapshots": [0, 10, 19]}
        assert text == json.dumps(values | {"split": path.name.split("-")[0]}, sort_keys=True)
        assert path.read_bytes() == save(tensors, {"nws": text})
    assert verify(some).problems == ()
    whole, part = Manifest.load(tiny_dataset.root), Manifest.load(some)
    assert part.trainings == whole.trainings  # the names hold the digests: the tables of trainings are the same
    card = (some / "README.md").read_text()
    assert "Of the 20 snapshots of each training **snapshots 0, 10, 19** are here" in card and "All 3 snapshots" in card


def test_without_a_choice_nothing_changes(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    for name, snapshots in {"a": (), "b": range(20)}.items():
        subset(tiny_dataset.root, tmp_path / name, ["plan_index<4"], populations=["random"], snapshots=tuple(snapshots))
    assert differences(tmp_path / "a", tmp_path / "b") == []
    content = json.loads((tmp_path / "a" / "manifest.json").read_bytes())
    assert content["format_version"] == 1 and "snapshots" not in content


@pytest.mark.parametrize("folder", ["some", "early"])
def test_all_ways_of_reading_give_the_snapshots_by_their_numbers(
    tiny_dataset: TinyDataset, folder: str, request: pytest.FixtureRequest
) -> None:
    root, numbers = request.getfixturevalue(folder), {"some": SOME, "early": EARLY}[folder]
    data, whole = nws_data.open(root, "random"), nws_data.open(tiny_dataset.root, "random")
    whole = whole.select(snapshot=numbers, training=np.unique(data["training"]))
    assert data.columns == whole.columns
    for name in set(data.columns) - {"finite"}:  # those of the final model too, though it is not in `early`
        assert np.array_equal(data[name], whole[name]), name
    for i in range(len(data)):
        staged = tiny_dataset.record(data["training"][i])
        assert data["epoch"][i] == staged.snapshot_epochs[data["snapshot"][i]]
        assert data.vector(i).numpy().tobytes() == staged.weights[data["snapshot"][i]].tobytes()
    assert data.select(last=1)["snapshot"].tolist() == [numbers[-1]] * (len(data) // len(numbers))
    ours, theirs = (nws_data.FixedWindows(rows.select(snapshot=10), length=500, part="fc") for rows in (data, whole))
    assert len(ours) and all((ours[i][0] == theirs[i][0]).all() for i in range(len(ours)))
    features = [
        nws_data.statistics_features(nws_data.GlobalVectors(r.take(np.arange(4)), length=2000)) for r in (data, whole)
    ]
    assert np.array_equal(*features)
    assert set(data["training"][~data["finite"]].tolist()) == (set(NON_FINITE) if folder == "some" else set())


def test_datasets_reads_it(some: Path, tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = datasets.load_dataset(str(some), "random", split="test", cache_dir=str(tmp_path))
    rows = rows.cast_column("weights", nws_data.Weights(root=some))
    assert len(rows) == 3 * Manifest.load(some).populations["random"].splits["test"].n_trainings
    for i in (0, 1, 2, len(rows) - 1):
        row = rows[i]
        staged = tiny_dataset.record(row["training"]).weights[row["snapshot"]]
        assert row["snapshot"] == SOME[i % 3] and np.array_equal(np.asarray(row["weights"]), staged, equal_nan=True)


def test_a_task_has_its_snapshots_or_is_not_available(some: Path, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    name = "regress-local/learning_rate"
    with pytest.raises(
        TaskNotAvailableError,
        match="needs snapshots 18, 19 of each training, this dataset holds snapshots 0, 10, 19; open the dataset that",
    ):
        nws_data.load_task(name, some)
    subset(tiny_dataset.root, tmp_path / "late", populations=["random"], snapshots=[18, 19])
    late, whole = (nws_data.load_task(name, root) for root in (tmp_path / "late", tiny_dataset.root))
    assert late.counts == whole.counts
    for side in ("train", "test"):
        ours, theirs = late.view(side, fixed=True), whole.view(side, fixed=True)
        assert ours.data["snapshot"].tolist() == theirs.data["snapshot"].tolist()
        assert ours.data["training"].tolist() == theirs.data["training"].tolist()
        assert all((ours[i][0] == theirs[i][0]).all() for i in range(0, len(ours), 7))
    with pytest.raises(TaskNotAvailableError, match="needs all 20 snapshots of each training"):
        nws_data.load_task("regress-local/progress", tmp_path / "late")


@pytest.mark.slow
def test_parts_are_merged_and_compared_by_their_snapshots(
    some: Path, early: Path, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    found = diff(tiny_dataset.root, some)
    assert found.general == ("format version 1 and 2", "of each training all 20 snapshots and snapshots 0, 10, 19")
    assert not (found.values or found.weights or found.only_in_a or found.only_in_b)
    assert diff(early, tiny_dataset.root).values == {}  # `finite` is of what is held
    for name, condition in {"a": "optimizer=adam", "b": "optimizer!=adam"}.items():
        subset(some, tmp_path / name, [condition])
    merge(tmp_path / "a", tmp_path / "b", tmp_path / "both")
    assert diff(tmp_path / "both", some).equal and verify(tmp_path / "both").ok
    with pytest.raises(BuildError, match=r"holds snapshots 0, 10, 19 of each training, .* snapshots 3, 10; make them equal"):
        merge(some, early, tmp_path / "none")


def test_weights_are_compared_where_both_hold_them(tmp_path: Path) -> None:
    for name, number in {"a": None, "held": 10, "left out": 11}.items():
        record = make_record("random", 1)
        if number is not None:
            record.weights[number, 5] += 1
        (tmp_path / name).mkdir()
        record.save(tmp_path / name / "staged")
        write(tmp_path / name / "nws", "random", [tmp_path / name / "staged"])
    subset(tmp_path / "a" / "nws", tmp_path / "part", snapshots=SOME)
    subset(tmp_path / "a" / "nws", tmp_path / "one", snapshots=[3])
    assert diff(tmp_path / "held" / "nws", tmp_path / "part").weights == ("random-000001",)
    assert diff(tmp_path / "left out" / "nws", tmp_path / "part").weights == ()
    assert diff(tmp_path / "one", tmp_path / "part").weights == ()


def test_what_cannot_be_is_refused(some: Path, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="holds snapshots 0, 10, 19 of each training, not snapshots 1, 20"):
        subset(some, tmp_path / "part", snapshots=[0, 1, 20])
    message = "holds snapshots 0, 10, 19 of each training, so trainings with all 20 snapshots cannot be added"
    with pytest.raises(BuildError, match=message):
        check_appendable(some)  # what `nws build` asks first
    with pytest.raises(BuildError, match=message):
        write(some, "random", stage(tmp_path, "random", [30]))
    with pytest.raises(BuildError, match=message):
        subset(tiny_dataset.root, some)


@pytest.mark.slow
def test_an_interrupted_selection_goes_on_but_not_with_other_snapshots(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    calls: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        calls.append(total)
        if list((tmp_path / "part").glob("weights/fixed/*.safetensors")):
            raise KeyboardInterrupt

    chosen: dict[str, Any] = {"conditions": ["plan_index<4"], "snapshots": SOME}
    with pytest.raises(KeyboardInterrupt):
        subset(tiny_dataset.root, tmp_path / "part", **chosen, progress=stop)
    (shard,) = (tmp_path / "part").glob("weights/fixed/*.safetensors")
    before = shard.stat().st_ino
    records = [make_record(population, index) for population in ("fixed", "random") for index in range(4)]
    assert set(calls) == {sum(4 * 3 * record.weights.shape[1] for record in records)}
    copy = Path(shutil.copytree(tmp_path / "part", tmp_path / "copy"))
    subset(tiny_dataset.root, tmp_path / "part", **chosen)
    assert shard.stat().st_ino == before and verify(tmp_path / "part").ok
    subset(tiny_dataset.root, copy, **chosen | {"snapshots": (0, 1, 2)})  # the finished shard is written again
    assert verify(copy).ok and Manifest.load(copy).snapshots == (0, 1, 2)


@pytest.mark.parametrize("wrong", [[], [0, 0], [10, 0, 19], [0, 20, 21], [-1, 0, 1], [0, True, 2], [0.0, 1, 2], "abc", None])
def test_a_manifest_with_other_numbers_is_refused(some: Path, wrong: Any) -> None:
    from nws_data.format.manifest import parse_manifest

    content = json.loads((some / "manifest.json").read_bytes()) | {"snapshots": wrong}
    with pytest.raises(FormatError, match="not a readable manifest"):
        parse_manifest(json.dumps(content).encode(), "m")


def test_shards_of_other_snapshots_are_found(some: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(some, tmp_path / "nws"))
    seal(root, {}, lambda content: content.update(snapshots=[0, 10, 18]))
    wrong = "weights/random/train-00000.safetensors: holds snapshots 0, 10, 19, manifest.json says snapshots 0, 10, 18"
    assert wrong in verify(root).problems
    with pytest.raises(FormatError, match="positions of weights in the metadata do not fit"):
        nws_data.open(root, "random")
    with pytest.raises(FormatError, match=r"holds other snapshots than manifest\.json says"):
        subset(root, tmp_path / "part")


def test_info_and_pictures_say_what_is_there(some: Path, early: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(some)]) == 0
    assert "of the 20 snapshots of each training: snapshots 0, 10, 19\n" in capsys.readouterr().out
    assert main(["info", str(some), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["snapshots"] == [0, 10, 19]
    training = load_training(early, "random-000001")
    staged = make_record("random", 1)
    assert f"{staged.test_accuracy[-1]:.1%} after {staged.n_epochs} epochs; snapshots 3, 10 of 20" in caption(training)
    with style.theme():
        panels = draw_trajectory(training).subfigs[0].axes
        labels = draw_weights(training).subfigs[1].legends[0].get_texts()
    epochs = [f"epoch {staged.snapshot_epochs[number]}" for number in EARLY]
    assert panels[1].get_title() == f"Distance of the kernels from those of {epochs[0]}"
    assert panels[0].lines[0].get_xdata()[-1] == staged.n_epochs  # the whole learning curve
    assert [label.get_text() for label in labels] == epochs


def test_figures_over_snapshots_say_what_they_need(some: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"needs all 20 snapshots of each training, .* holds snapshots 0, 10, 19"):
        importance.measure(Source(some, tmp_path))
