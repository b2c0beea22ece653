"""Imported trainings that are in no list: the split ``none``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import nws_data
from nws_data.check.verify import verify
from nws_data.cli import main
from nws_data.convert.diff import diff
from nws_data.convert.merge import merge
from nws_data.convert.subset import subset
from nws_data.errors import SelectionError
from nws_data.format.manifest import Manifest
from nws_data.format.tiers import tier_order
from nws_data.hub.pull import tier_shards
from nws_data.hub.repository import parse_repository
from nws_data.tasks.selection import select_sides
from nws_data.tasks.table import parse_task
from tests.nws_data.convert.release import Release


def unlisted(release: Release) -> set[float]:
    """The learning rates of the trainings in no list, as the release's files say it."""
    listed = "".join((release.root / f"nws_main_{side}.csv").read_text() for side in ("train", "test"))
    return {rate for rate, original in release.by_rate("random").items() if original.name not in listed}


def test_what_is_in_no_list_is_a_split_of_its_own(release, nws, tmp_path, capsys):
    rates, manifest = unlisted(release), Manifest.load(nws)
    assert len(rates) == 3 and list(manifest.populations["random"].splits) == ["train", "validation", "test", "none"]
    assert set(nws_data.open(nws, "random", split="none")["learning_rate"]) == rates
    for split in ("train", "validation", "test"):
        assert not rates & set(nws_data.open(nws, "random", split=split)["learning_rate"])
    assert rates < set(nws_data.open(nws, "random")["learning_rate"])  # all splits
    with pytest.raises(SelectionError, match="split of fixed: got 'none'"):
        nws_data.open(nws, "fixed", split="none")
    windows = nws_data.FixedWindows(nws_data.open(nws, "random", split="none"), length=500)
    assert len(windows) == 3 * 20 * 10 and windows[0][0].shape == (500,)

    import datasets

    loaded = datasets.load_dataset(str(nws), "random", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train", "validation", "test", "none"]
    assert {split: bool(rates & set(rows["learning_rate"])) for split, rows in loaded.items()} == {
        "train": False,
        "validation": False,
        "test": False,
        "none": True,
    }
    trainings = datasets.load_dataset(str(nws), "trainings", split="none", cache_dir=str(tmp_path / "cache"))
    assert set(trainings["learning_rate"]) == rates and set(trainings["split"]) == {"none"}

    records = json.loads((nws / "croissant.json").read_text())["recordSet"]
    assert {"random/none", "trainings/none"} <= {record["@id"] for record in records}
    assert main(["info", str(nws)]) == 0
    assert re.search(r"^none +3 +60 ", capsys.readouterr().out, re.MULTILINE)
    assert "| none | 3 | 60 |" in (nws / "README.md").read_text()
    for fold in range(5):
        rows = select_sides(nws_data.open(nws, "random"), parse_task(f"regress-local/learning_rate/fold={fold}")).rows
        every = np.concatenate([*rows.values()])
        assert not rates & set(nws_data.open(nws, "random")["learning_rate"][every])


def test_only_what_needs_it_is_of_version_2(nws, tmp_path):
    def versions(root: Path) -> dict[str, int]:
        shards = {path.name: path.read_bytes()[:300] for path in root.glob("weights/*/*.safetensors")}
        return {name: int(re.search(rb'format_version\\": (\d)', raw)[1]) for name, raw in shards.items()}

    assert json.loads((nws / "manifest.json").read_text())["format_version"] == 2
    assert {name: version for name, version in versions(nws).items() if version == 2} == {"none-00000.safetensors": 2}
    subset(nws, tmp_path / "listed", ["split!=none"])
    subset(nws, tmp_path / "others", ["split=none"])
    content = json.loads((tmp_path / "listed" / "manifest.json").read_text())
    assert content["format_version"] == 1 and "snapshots" not in content
    assert set(versions(tmp_path / "listed").values()) == {1}
    assert list(Manifest.load(tmp_path / "others").populations["random"].splits) == ["none"]
    merge(tmp_path / "listed", tmp_path / "others", tmp_path / "both")
    assert (
        diff(tmp_path / "both", nws).equal and Manifest.load(tmp_path / "both").data_digest == Manifest.load(nws).data_digest
    )
    assert all(verify(tmp_path / name).problems == () for name in ("listed", "others", "both"))


def test_pulls_and_tiers_take_the_split_as_the_others(nws):
    manifest = Manifest.load(nws)
    repository = parse_repository("owner/nws")
    shards = tier_shards(manifest, "full", ["random"], repository, "none")
    assert [shard.path for shard in shards] == ["weights/random/none-00000.safetensors"]
    order = tier_order({split: entry.shards for split, entry in manifest.populations["random"].splits.items()})
    assert sorted(split for split, _ in order) == ["none", "test", "train", "validation"] and order[-1][0] == "none"
