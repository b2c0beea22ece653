"""``nws subset``, ``nws merge`` and ``nws diff``, on datasets of the real writer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import nws_data
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.convert.diff import diff
from nws_data.convert.merge import merge
from nws_data.convert.subset import parse_condition, subset
from nws_data.errors import BuildError, FormatError, SelectionError
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import TRAINING_SCHEMA
from nws_data.write.writer import write_dataset
from tests.conftest import CARD_TEMPLATE, IMAGE_SETS, PLANS, dataset_folder, make_record, stage, write
from tests.nws_data.format.forging import forge


def frame_of(root: Path) -> pd.DataFrame:
    return nws_data.open(root, "random").trainings().set_index("training")


def weights_of(root: Path) -> dict[str, np.ndarray]:
    """All tensors as the safetensors library reads them."""
    return {
        f"{path.parent.name}-{key[1:]}": values
        for path in root.glob("weights/*/*.safetensors")
        for key, values in load_file(path).items()
    }


@pytest.fixture(scope="module")
def twelve() -> Path:
    """Twelve random trainings; number 6 is not finite."""

    def make(folder: Path) -> None:
        write(folder / "nws", "random", stage(folder, "random", range(12)), shard_sizes=(4_000_000,))

    return dataset_folder("twelve", make) / "nws"


@pytest.mark.parametrize("columns", [("population", "training"), ("population",)])
def test_a_forged_table_without_a_population_s_trainings_is_refused(tiny_dataset, tmp_path, columns):
    root = shutil.copytree(tiny_dataset.root, tmp_path / "forged")

    def relabel(rows):
        for row in rows:
            row |= {name: row[name].replace("fixed", "random") for name in columns}

    for path in Manifest.load(root).trainings.values():
        forge(root, path, TRAINING_SCHEMA, relabel)
    for command in (merge, lambda a, b, _: diff(b, a)):
        with pytest.raises(FormatError, match=rf"{root}: .* population fixed, .*; `nws verify {root}` says more"):
            command(root, tiny_dataset.root, tmp_path / "out")


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        (["optimizer=adam"], lambda f: f.optimizer == "adam"),
        (["optimizer = adam, rmsprop", "dataset!=digits"], lambda f: (f.optimizer != "momentum") & (f.dataset == "mnist")),
        (["test_accuracy>0.5"], lambda f: f.test_accuracy.map(lambda curve: curve[-1]) > 0.5),
        (["batch_size<=64", "n_epochs>=20"], lambda f: (f.batch_size <= 64) & (f.n_epochs >= 20)),
        (["finite=false"], lambda f: ~f.finite),
        (["augmentation=on", "split!=test"], lambda f: f.augmentation & (f.split != "test")),
    ],
)
def test_a_subset_holds_what_meets_the_conditions_and_is_sound(twelve, tmp_path, conditions, chosen):
    whole = frame_of(twelve)
    expected = whole[chosen(whole)]
    assert 0 < len(expected) < 12
    subset(twelve, tmp_path / "part", conditions)
    found = frame_of(tmp_path / "part")
    pd.testing.assert_frame_equal(found, expected)
    tensors, all_tensors = weights_of(tmp_path / "part"), weights_of(twelve)
    assert tensors.keys() == set(expected.index)
    assert all(np.array_equal(values, all_tensors[key], equal_nan=True) for key, values in tensors.items())
    assert verify(tmp_path / "part").problems == ()


def test_of_two_populations_one_can_be_chosen(tiny_dataset, tmp_path):
    subset(tiny_dataset.root, tmp_path / "part", ["plan_index<2"])
    assert {name: e.n_trainings for name, e in Manifest.load(tmp_path / "part").populations.items()} == {
        "fixed": 2,
        "random": 2,
    }
    subset(tiny_dataset.root, tmp_path / "one", ["plan_index<2"], populations=["random"])
    assert list(Manifest.load(tmp_path / "one").populations) == ["random"]
    with pytest.raises(SelectionError, match="population: got 'large'"):
        subset(tiny_dataset.root, tmp_path / "none", populations=["large"])
    with pytest.raises(BuildError, match="holds another dataset, with fixed-000000"):  # not a part of a new selection
        subset(tiny_dataset.root, tmp_path / "part", ["plan_index<2"], populations=["random"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", "not a condition"),
        ("optimiser=adam", "did you mean optimizer"),
        ("snapshot=19", "conditions choose trainings, with all their snapshots"),
        ("epoch>3", "conditions choose trainings, with all their snapshots"),
        ("layers=conv1", "column: got 'layers'"),
        ("optimizer>adam", "optimizer has no order"),
        ("finite=maybe", "'maybe' is not true or false"),
        ("test_accuracy>half", "'half' is not a number"),
    ],
)
def test_conditions_that_cannot_be_are_refused(text, message):
    with pytest.raises(SelectionError, match=message):
        parse_condition(text)


def test_a_subset_that_would_be_empty_or_overwrite_is_refused(twelve, tmp_path):
    with pytest.raises(SelectionError, match=r"no training of .* meets optimizer=sgd"):
        subset(twelve, tmp_path / "part", ["optimizer=sgd"])
    with pytest.raises(BuildError, match="is read from"):
        subset(twelve, twelve)
    assert not (tmp_path / "part").exists()


def test_damage_is_not_copied(twelve, tmp_path):
    damaged = Path(shutil.copytree(twelve, tmp_path / "damaged"))
    shard = sorted(damaged.glob("weights/random/train-*.safetensors"))[0]
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(FormatError, match="its SHA-256 is not the recorded one"):
        subset(damaged, tmp_path / "part")
    shard.unlink()
    with pytest.raises(FormatError, match="not there"):
        subset(damaged, tmp_path / "part")
    assert not (tmp_path / "part" / "manifest.json").exists()


def test_parts_merged_are_the_whole(twelve, tmp_path):
    subset(twelve, tmp_path / "a", ["optimizer=adam"])
    subset(twelve, tmp_path / "b", ["optimizer!=adam"])
    merge(tmp_path / "a", tmp_path / "b", tmp_path / "both")
    found = diff(twelve, tmp_path / "both")
    assert found.equal and verify(tmp_path / "both").ok
    assert Manifest.load(tmp_path / "both").data_digest != Manifest.load(twelve).data_digest  # other shard borders
    merge(tmp_path / "both", tmp_path / "a", tmp_path / "again")  # what both hold is the same
    assert diff(tmp_path / "both", tmp_path / "again").equal


def test_populations_are_merged(twelve, tmp_path):
    write(tmp_path / "fixed", "fixed", stage(tmp_path, "fixed", [0]))
    merge(tmp_path / "fixed", twelve, tmp_path / "both")
    assert {name: e.n_trainings for name, e in Manifest.load(tmp_path / "both").populations.items()} == {
        "fixed": 1,
        "random": 12,
    }
    assert verify(tmp_path / "both").ok
    merge(twelve, tmp_path / "fixed", tmp_path / "other way round")
    assert diff(tmp_path / "both", tmp_path / "other way round").equal


def other(folder: Path, index: int, **changes) -> Path:
    """Stage a training with changes."""
    path = folder / f"{index}.safetensors"
    replace(make_record("random", index), **changes).save(path)
    return path


def test_a_difference_of_each_kind_is_found(twelve, tmp_path, capsys):
    weights = make_record("random", 1).weights
    weights[3, 5] = np.nextafter(weights[3, 5], np.float32(9))
    paths = [other(tmp_path, 1, weights=weights), other(tmp_path, 2, device="another"), *stage(tmp_path, "random", (0, 13))]
    sets = (*IMAGE_SETS[:1], replace(IMAGE_SETS[1], threshold=0.7))
    plan = PLANS["random"] | {"epoch_cap": 41}

    def make(name: str, plan, image_sets, records) -> None:
        populations = {"random": (plan, records)}
        write_dataset(tmp_path / name, populations=populations, image_sets=image_sets, card_template=CARD_TEMPLATE)

    make("b", plan, sets, paths)
    subset(twelve, tmp_path / "a", ["plan_index<4"])
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.weights == ("random-000001",) and found.values == {"random-000002": ("device",)}
    assert found.only_in_a == ("random-000003",) and found.only_in_b == ("random-000013",)
    assert [text.split(":")[0] for text in found.general] == ["image set digits", "plan of random"]
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    shown = capsys.readouterr().out
    assert "epoch_cap was 40, now 41" in shown and "1 trainings with other weights: random-000001" in shown
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["weights"] == ["random-000001"]
    with pytest.raises(BuildError, match=r"image set digits of .* differs"):
        merge(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    make("c", plan, IMAGE_SETS, paths)
    with pytest.raises(BuildError, match=r"other plans .*epoch_cap was 40, now 41"):
        merge(tmp_path / "a", tmp_path / "c", tmp_path / "out")
    for name, record in {"weights": paths[0], "values": paths[1]}.items():
        make(name, PLANS["random"], IMAGE_SETS, [record])
        with pytest.raises(BuildError, match="is not the same training"):
            merge(tmp_path / "a", tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_non_finite_weights_are_equal_where_their_bits_are(twelve, tmp_path):
    assert not np.isfinite(make_record("random", 6).weights).all()
    subset(twelve, tmp_path / "a", ["plan_index=6"])
    assert diff(tmp_path / "a", twelve).weights == ()


def test_the_commands_write_and_compare(twelve, tmp_path, capsys):
    a, b, out = (str(tmp_path / name) for name in ("a", "b", "out"))
    assert main(["subset", str(twelve), "plan_index<3", "--out", a, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_trainings"] == 3
    assert main(["subset", str(twelve), "plan_index>=3", "--population", "random", "--out", b]) == 0
    assert main(["merge", a, b, "--out", out]) == 0
    assert "12 trainings" in capsys.readouterr().out
    assert main(["diff", out, str(twelve)]) == 0
    assert main(["diff", out, str(twelve), "--json"]) == 0
    assert main(["subset", str(twelve), "snapshot=19", "--out", str(tmp_path / "none")]) == 2
    assert "choose snapshots by their numbers: --snapshots" in capsys.readouterr().err


def test_an_interrupted_subset_goes_on(twelve, tmp_path):
    n = 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal n
        n += 1
        if n == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        subset(twelve, tmp_path / "part", progress=stop)
    first = next((tmp_path / "part").glob("weights/random/train-00000.safetensors"), None)
    before = first.stat().st_ino if first else None
    subset(twelve, tmp_path / "part")
    assert diff(tmp_path / "part", twelve).equal and verify(tmp_path / "part").ok
    assert first is None or first.stat().st_ino == before
    assert not (tmp_path / "part" / ".nws-written").exists()
