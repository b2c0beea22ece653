import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nws_data.errors import FormatError
from nws_data.format.manifest import MANIFEST, Manifest, data_digest, parse_manifest
from nws_data.space.image_sets import ImageSet, threshold_of
from tests.conftest import TinyDataset


def test_saved_and_loaded_is_the_same(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    manifest = tiny_dataset.manifest
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert (tmp_path / MANIFEST).read_bytes() == (tiny_dataset.root / MANIFEST).read_bytes() == manifest.to_bytes()


def test_json_is_what_format_md_shows(tiny_dataset: TinyDataset) -> None:
    content = json.loads((tiny_dataset.root / MANIFEST).read_text())
    names = ["format", "format_version", "data_digest", "image_sets", "populations", "trainings", "provenance", "sha256"]
    assert list(content) == names
    assert list(content["image_sets"][0]) == ["name", "threshold", "source", "n_train", "n_test", "digest"]
    fixed = content["populations"]["fixed"]
    assert (fixed["n_trainings"], list(fixed["splits"])) == (8, ["train", "validation", "test"])
    assert list(fixed["splits"]["train"]) == ["n_trainings", "n_snapshots", "metadata", "shards"]
    shard = fixed["splits"]["train"]["shards"][0]
    assert list(shard) == ["path", "nbytes", "sha256", "trainings", "n_trainings"]
    assert shard["trainings"] == ["fixed-000000", "fixed-000004"]


def test_data_digest_by_hand() -> None:
    lines = b"22  a/b.parquet\n11  c.safetensors\n"
    sha256 = {"c.safetensors": "11", "a/b.parquet": "22", "p.parquet": "33"}
    assert data_digest(sha256, "p.parquet") == hashlib.sha256(lines).hexdigest()


def changed(manifest: Manifest, **values: Any) -> bytes:
    return json.dumps(json.loads(manifest.to_bytes()) | values).encode()


def test_other_versions_and_kinds_are_refused(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    manifest = tiny_dataset.manifest
    with pytest.raises(FormatError, match="format version 3, this nws_data reads version 1, 2;"):
        parse_manifest(changed(manifest, format_version=3), "m")
    with pytest.raises(FormatError, match="m: format must be 'nws', got 'zoo'"):
        parse_manifest(changed(manifest, format="zoo"), "m")
    for raw in (
        b"{",
        b"[]",
        b"\xff",
        changed(manifest, populations={"other": {}}),
        changed(manifest, image_sets=[{"a": 1}]),
    ):
        with pytest.raises(FormatError, match="m: not a readable manifest"):
            parse_manifest(raw, "m")
    with pytest.raises(FormatError, match=r"no manifest.json .*give the folder"):
        Manifest.load(tmp_path)


def test_counts_must_agree_with_the_shards(tiny_dataset: TinyDataset) -> None:
    content = json.loads(tiny_dataset.manifest.to_bytes())
    content["populations"]["fixed"]["n_trainings"] = 9
    with pytest.raises(FormatError, match="n_trainings is 9, its shards hold 8"):
        parse_manifest(json.dumps(content).encode(), "m")


@pytest.mark.parametrize("path", ["/etc/passwd", "metadata/../../x", "", "a\\b", ".bashrc", "metadata/x\0"])
def test_paths_must_stay_inside(tiny_dataset: TinyDataset, path: str) -> None:
    sha256 = tiny_dataset.manifest.sha256 | {path: "0" * 64}
    del sha256[tiny_dataset.manifest.provenance]
    with pytest.raises(FormatError, match=r"must be named metadata/provenance/trainings-0{12}.parquet"):
        parse_manifest(changed(tiny_dataset.manifest, provenance=path, sha256=sha256), "m")


def test_a_plan_needs_its_seed(tiny_dataset: TinyDataset) -> None:
    content = json.loads(tiny_dataset.manifest.to_bytes())
    del content["populations"]["fixed"]["plan"]["build_seed"]
    with pytest.raises(FormatError, match="no build_seed"):
        parse_manifest(json.dumps(content).encode(), "m")


def test_image_sets_check_their_values() -> None:
    good = {"name": "a", "threshold": 0.5, "source": "", "n_train": 1, "n_test": 1, "digest": ""}
    image_set = ImageSet(**good)  # type: ignore[arg-type]
    assert image_set.passes(0.51)
    assert not image_set.passes(0.5)
    for wrong in (
        {"name": ""},
        {"threshold": 80},
        {"threshold": None},
        {"n_test": 0},
        {"n_train": 1.5},
        {"source": "\x1b[8m"},
        {"source": None},
    ):
        with pytest.raises(FormatError):
            ImageSet(**(good | wrong))  # type: ignore[arg-type]


def test_thresholds_of_the_paper() -> None:
    official = [threshold_of(name) for name in ("mnist", "cifar10", "svhn", "stl10", "fashion_mnist", "digits", "other")]
    assert official == [0.80, 0.25, 0.50, 0.25, 0.50, 0.50, 0.25]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"nbytes": ', '"nbytes": "1", "x": '),
        ('"nbytes": ', '"nbytes": true, "x": '),
        ('"sha256": "', '"sha256": "not hex '),
        ('"sha256": {', '"sha256": {"metadata/\\ud800.parquet": "' + "0" * 64 + '", '),
        ('"sha256": {', '"sha256": {"metadata/x.parquet": {}, '),
        ('"image_sets": [', '"image_sets": ' + "[" * 100_000),
    ],
)
def test_values_of_other_types_are_refused(tiny_dataset: TinyDataset, old: str, new: str) -> None:
    text = tiny_dataset.manifest.to_bytes().decode()
    assert old in text
    with pytest.raises(FormatError, match="not a readable manifest"):
        parse_manifest(text.replace(old, new, 1).encode(), "manifest.json")


@pytest.mark.parametrize(
    "plan",
    [{"build_seed": 1, "image_sets": 5}, {"build_seed": 1, "image_sets": ["x"]}, {"build_seed": 1, "compute_path": 7}],
)
def test_a_plan_of_other_types_is_refused(tiny_dataset: TinyDataset, plan: dict[str, object]) -> None:
    content = json.loads(tiny_dataset.manifest.to_bytes())
    content["populations"]["fixed"]["plan"] = plan
    with pytest.raises(FormatError, match="not a readable manifest"):
        parse_manifest(json.dumps(content).encode(), "m")


@pytest.mark.parametrize("ids", [["fixed-000000", 5], ["nope", "x"], "ab", ["fixed-000000"], None])
def test_a_shards_ids_are_ids(tiny_dataset: TinyDataset, ids: object) -> None:
    content = json.loads(tiny_dataset.manifest.to_bytes())
    content["populations"]["fixed"]["splits"]["train"]["shards"][0]["trainings"] = ids
    with pytest.raises(FormatError, match="not a readable manifest"):
        parse_manifest(json.dumps(content).encode(), "m")
