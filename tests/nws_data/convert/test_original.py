"""The import of the authors' release, against folders written by their scripts' description (``release.py``)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nws_data
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.convert.original import import_original
from nws_data.convert.original_folder import stop_reason
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import Manifest
from nws_data.tasks.selection import select_sides
from nws_data.tasks.table import parse_task
from tests.crash.compare import differences
from tests.nws_data.convert.release import Release, Variables


@pytest.fixture
def small(release, tmp_path) -> Path:
    """A copy of some of the release to damage: five random trainings, and lists of two."""
    root = tmp_path / "release"
    few = Release(root, {f"nws_main/{i:04d}": release.trainings[f"nws_main/{i:04d}"] for i in range(1, 6)})
    for name in few.trainings:
        shutil.copytree(release.root / name, root / name)
    few.list("nws_main_train.csv", ["nws_main/0001"])
    few.list("nws_main_test.csv", ["nws_main/0002"])
    return root


@pytest.mark.parametrize("population", ["random", "fixed"])
def test_all_weights_values_and_splits_come_in(release, nws, population):
    data = nws_data.open(nws, population)
    originals, seen = release.by_rate(population), set()
    lists = {name: (release.root / f"nws_{name}.csv").read_text() for name in ("main_train", "main_test")}
    for training in np.unique(data["training"]):
        rows = data.select(training=training)
        original = originals[rows["learning_rate"][0]]
        seen.add(original.name)
        weights = np.stack([rows.vector(i).numpy() for i in range(20)])
        assert weights.dtype == np.float32 and np.array_equal(weights, original.vectors)
        kept = [int(x) - 1 for x in np.round(np.linspace(1, 26, 20))]  # as classifier.py chose its files
        assert rows["epoch"].tolist() == kept
        curves = np.stack([rows[f"{name}_accuracy"] for name in ("train", "validation", "test")], axis=1)
        assert np.allclose(curves, original.accuracies[kept], atol=1e-12)
        if population == "random":
            listed = [name for name, text in lists.items() if f"{original.name}\n" in text.replace("\r", "")]
            wanted = {"main_train": {"train", "validation"}, "main_test": {"test"}}
            assert rows["split"][0] in (wanted[listed[0]] if listed else {"none"})
            assert (int(training[-6:]) >= 500_000) == (not listed)
    assert seen == {t.name for t in originals.values()}


def test_codes_become_values(release, nws):
    frame = nws_data.open(nws, "random").trainings().set_index("learning_rate")
    row = frame.loc[float(str(release.trainings["nws_main/0006"].meta[1]))]
    named = {name: row[name] for name in ("dataset", "optimizer", "activation", "initialization", "augmentation")}
    assert named == {
        "dataset": "mnist",
        "optimizer": "momentum",
        "activation": "elu",
        "initialization": "glorot_uniform",
        "augmentation": True,
    }
    assert [row[n] for n in ("batch_size", "filter_size", "depth_conv", "depth_fc", "width_conv")] == [64, 5, 5, 5, 32]
    assert set(frame["dataset"]) == {"mnist", "cifar10", "svhn", "stl10", "fashion_mnist"}
    assert set(frame["stop_reason"]) == {"falling"} and set(frame["seed"]) == {0}
    assert set(frame["device"]) == set(frame["torch_version"]) == {"unknown"}


def test_the_dataset_is_sound_and_says_where_it_comes_from(nws, capsys):
    assert verify(nws).problems == ()
    plan = Manifest.load(nws).populations["random"].plan
    assert plan["build_seed"] is None and plan["evaluation"] == "original-2020"
    assert main(["info", str(nws)]) == 0
    assert "accuracies original-2020" in capsys.readouterr().out
    assert "Accuracies are those of 2020" in (nws / "README.md").read_text()


def output_of(layers: Variables, images: np.ndarray, activation: str) -> torch.Tensor:
    """Run a network as the script defines it, on images (n, 32, 32, 3), from TensorFlow's variables; float64."""
    function = {"relu": F.relu, "elu": F.elu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[activation]
    x = torch.from_numpy(images)

    def norm(x: torch.Tensor, beta, gamma, mean, variance) -> torch.Tensor:  # channels last
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    for kernel, bias, *rest in ([torch.from_numpy(a).double() for a in layer] for layer in layers):
        if kernel.ndim == 4:
            x = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding="same").permute(0, 2, 3, 1) + bias
            x = function(norm(x, *rest))
            x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)  # one convolution a block
        else:
            x = x.reshape(len(x), -1) @ kernel + bias
            x = norm(function(x), *rest) if rest else x
    return x


@pytest.mark.parametrize("name", ["nws_main/0003", "nws_fixed/0001"])
def test_an_imported_network_computes_what_the_original_did(release, nws, name):
    original = release.trainings[name]
    data = nws_data.open(nws, "random" if "main" in name else "fixed").select(learning_rate=original.meta[1])
    images = np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3))
    expected = output_of(original.last, images, data["activation"][0])
    model = data.model(-1).double().eval()
    with torch.no_grad():
        found = model(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_tasks_leave_out_what_is_in_no_list(nws):
    data = nws_data.open(nws, "random")
    rows = select_sides(data, parse_task("regress-local/learning_rate")).rows
    listed = {training for training in data["training"].tolist() if int(training[-6:]) < 500_000}
    assert {training for side in rows.values() for training in data["training"][side].tolist()} == listed
    assert len(listed) == 13 and len(set(data["training"])) == 16


def interrupted_import(root: Path, out: Path) -> None:
    """Import until the first shard of ``random`` is complete."""

    def stop(what: str, done: int, total: int) -> None:
        if any((out / "weights" / "random").glob("*.safetensors")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_original(root, out, progress=stop)


def test_an_interrupted_import_goes_on_and_gives_the_same_bytes(release, nws, tmp_path):
    out, n = tmp_path / "nws", 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal n
        n += 1
        if n == 18:  # in the second population
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_original(release.root, out, progress=stop)
    import_original(release.root, out)
    assert differences(out, nws) == []


def test_shards_that_a_killed_import_completed_are_not_written_again(release, nws, tmp_path):
    out = tmp_path / "nws"
    interrupted_import(release.root, out)
    (shard,) = (out / "weights" / "random").glob("train-00000.safetensors")
    before = shard.stat().st_ino
    import_original(release.root, out)
    assert shard.stat().st_ino == before
    assert differences(out, nws) == []


@pytest.mark.parametrize("damage", ["not JSON", "[]", '{"PATH": 1}', '{"PATH": {"sources": "DIGEST"}}', "shard"])
def test_what_a_killed_import_left_damaged_is_written_again(small, tmp_path, damage):
    out = tmp_path / "nws"
    interrupted_import(small, out)
    (path,) = out.glob("weights/random/*.safetensors")
    journal = out / ".nws-written"
    ((name, entry),) = json.loads(journal.read_text()).items()
    if damage == "shard":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        journal.write_text(damage.replace("PATH", name).replace("DIGEST", entry["sources"]))
    import_original(small, out)
    assert verify(out).problems == () and not journal.exists()


def test_a_folder_that_has_changed_is_read_again(small, tmp_path):
    out = tmp_path / "nws"
    interrupted_import(small, out)
    for path in (small / "nws_main").glob("*/weights/001.bin"):
        (np.fromfile(path) + 1).tofile(path)
    import_original(small, out)
    import_original(small, tmp_path / "again")
    assert differences(out, tmp_path / "again") == []


@pytest.mark.parametrize(
    ("length", "message"),
    [(None, "cannot be read .No such file"), (8, "was changed during the import"), (-4, "was changed during the import")],
)
def test_a_file_that_goes_while_it_is_imported_is_named(small, tmp_path, length, message):
    out, name = tmp_path / "nws", "weights/002.bin"

    def damage(what: str, done: int, total: int) -> None:
        for path in (small / "nws_main").glob(f"*/{name}"):
            path.unlink() if length is None else os.truncate(path, length if length > 0 else path.stat().st_size - length)

    with pytest.raises(FormatError, match=f"{name}: {message}"):
        import_original(small, out, progress=damage)
    assert not (out / "manifest.json").exists() and not list(out.rglob("*.tmp-*"))


def damage_length(folder: Path) -> None:
    (folder / "weights" / "007.bin").write_bytes(b"12345678")


def damage_meta(column: str, value: str):
    def damage(folder: Path) -> None:
        names, values = (folder / "meta.csv").read_text().splitlines()
        row = dict(zip(names.split(","), values.split(","), strict=True)) | {column: value}
        (folder / "meta.csv").write_text(f"{names}\n{','.join(row.values())}\n")

    return damage


def damage_stat(folder: Path) -> None:
    np.array([25.0, 250, 25, 1]).tofile(folder / "stat.bin")


def damage_errors(folder: Path) -> None:
    errors = np.fromfile(folder / "error.bin")
    errors[3] = np.nan
    errors.tofile(folder / "error.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_length, "weights/007.bin has 8 bytes, this architecture 170,080"),
        (lambda folder: (folder / "weights" / "020.bin").unlink(), "020.bin cannot be read (No such file or directory)"),
        (lambda folder: (folder / "meta.csv").unlink(), "meta.csv cannot be read (No such file or directory)"),
        (lambda folder: (folder / "meta.csv").write_bytes(b"\xff"), "meta.csv must have a header and one row"),
        (damage_meta("optimizer", "3"), "meta.csv: optimizer has the unknown code '3'"),
        (damage_meta("dataset", "pascal"), "meta.csv: dataset has the unknown code 'pascal'"),
        (damage_meta("width_conv", "16"), "meta.csv: width_conv has the unknown code '16'"),
        (damage_meta("batch_norm", "False"), "batch_norm is off"),
        (damage_meta("lrate", "0.1"), "learning_rate must be in"),
        (damage_meta("batch_size", "128"), "batch_size of"),
        (damage_stat, "error.bin holds 130 values, expected 5 for each of the 25 evaluations"),
        (damage_errors, "errors must be in [0, 100] percent"),
        (lambda folder: (folder / "stat.bin").write_bytes(b"123"), "stat.bin has 3 bytes, which are no float64 values"),
    ],
)
def test_a_bad_folder_is_named_or_left_out(small, tmp_path, capsys, damage, message):
    damage(small / "nws_main" / "0001")
    out = tmp_path / "nws"
    with pytest.raises(FormatError) as raised:
        import_original(small, out)
    text = "\n".join([str(raised.value), *raised.value.__notes__])
    assert message in text and str(small / "nws_main" / "0001") in text
    assert not out.exists()
    if damage is damage_length:
        assert main(["import-original", str(small), "--out", str(out), "--skip-bad", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["populations"]["random"] == {"n_trainings": 4, "n_train": 0, "n_test": 1, "n_unlisted": 3}
        assert len(report["skipped"]) == 1 and message in report["skipped"][0]
        assert verify(out).ok


def test_an_id_does_not_depend_on_what_else_is_there(release, nws, small, tmp_path):
    shutil.copy(release.root / "nws_main_train.csv", small)
    shutil.copy(release.root / "nws_main_test.csv", small)
    report = import_original(small, tmp_path / "nws", skip_bad=True)
    assert len(report.skipped) == 8 and all("no folder here is" in problem for problem in report.skipped)
    part, whole = (nws_data.open(root, "random").trainings() for root in (tmp_path / "nws", nws))
    ids = dict(zip(whole["learning_rate"], whole["training"], strict=True))
    assert [ids[rate] for rate in part["learning_rate"]] == part["training"].tolist()


def test_folders_and_lists_that_do_not_fit_are_refused(small, tmp_path):
    def refused(message: str, out: Path = tmp_path / "nws") -> None:
        with pytest.raises((FormatError, BuildError), match=message):
            import_original(small, out)

    refused("lies inside the release", small / "nws")
    small = small.rename(tmp_path / "fixed and main")  # the last part of a path that names a population does
    import_original(small, tmp_path / "renamed")
    shutil.copytree(small / "nws_main" / "0001", small / "nws_main" / "other" / "0001")
    (small / "nws_main" / "other").rename(small / "nws_main_2")
    import_original(small, tmp_path / "both")  # the authors' path says which
    (small / "nws_main_2").rename(small / "other")
    refused("the path names neither fixed nor main")
    shutil.rmtree(small / "other")
    (small / "more.csv").write_text("a,b\n")
    refused("which list is it")
    (small / "more.csv").unlink()
    text = (small / "nws_main_test.csv").read_text()
    (small / "nws_main_test.csv").write_text(text + text.splitlines()[1] + "\n")
    refused("is listed already, by")
    (small / "nws_main_test.csv").write_text("path\n/a/b\n")
    refused("needs rows, and columns")
    (small / "nws_main_test.csv").unlink()
    refused("the test list is not there")
    (small / "nws_main_train.csv").unlink()
    refused("no lists of random")
    shutil.rmtree(small / "nws_main")
    refused("no training of the 2020 release")


def test_the_reason_to_stop_follows_from_the_errors():
    falling = np.array([50.0] * 20 + [51, 51, 52, 53, 54, 55])
    assert stop_reason(falling, falling) == "falling"
    recovered = np.array([50.0] * 20 + [51, 52, 53, 54, 49, 55])
    assert stop_reason(recovered, recovered) == "cap"
    assert stop_reason(np.full(31, 90.0), np.full(31, 90.0)) == "stationary"
    swinging = np.array([50.0, 60.0] * 30 + [50.0])
    assert stop_reason(swinging, np.full(61, 55.0)) == "below_average"
    assert stop_reason(swinging[:-2], np.full(59, 55.0)) == "cap"
