"""Older format versions: read through their row of the table, and extended without touching their shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nws_data import open as open_dataset
from nws_data.check.verify import verify
from nws_data.errors import FormatError
from nws_data.format import shards
from nws_data.format.manifest import MANIFEST, Manifest, checksum_lines
from nws_data.format.root import CHECKSUMS, read_checksums
from nws_data.format.versions import FORMAT_VERSION, READERS, reader_of
from nws_data.hashing import file_sha256
from tests.conftest import stage, write

SIZES = (3_000_000,)


def test_the_written_version_can_be_read() -> None:
    assert reader_of(FORMAT_VERSION, "m") is READERS[FORMAT_VERSION]


@pytest.mark.parametrize("version", [3, 0, None, True, 1.0, "1", [1], {}])
def test_others_are_refused_by_the_versions_that_can_be_read(version: Any) -> None:
    expected = r"m: format version .+, this nws_data reads version 1, 2; upgrade nws-data to read a newer one"
    with pytest.raises(FormatError, match=expected):
        reader_of(version, "m")


def _shard_versions(root: Path) -> dict[str, bool]:
    paths = sorted((root / "weights" / "random").iterdir())
    return {path.name: b'"format_version\\": 0' in path.read_bytes()[:20_000] for path in paths}


def _vectors(root: Path) -> dict[str, torch.Tensor]:
    """The final vector of every training."""
    data = open_dataset(root, "random").select(snapshot=19)
    return {name: data.vector(i) for i, name in enumerate(data["training"])}


def test_a_dataset_of_an_older_version_is_read_verified_and_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 0, made up: provenance was called times."""
    root, staged = tmp_path / "nws", stage(tmp_path / "staged", "random", range(8))
    with monkeypatch.context() as patch:
        patch.setattr(shards, "version_for", lambda splits, snapshots: 0)
        patch.setitem(READERS, 0, READERS[1])
        new = write(root, "random", staged[:4], SIZES)

    content = json.loads((root / MANIFEST).read_bytes()) | {"format_version": 0}
    content["times"] = content.pop("provenance")
    (root / MANIFEST).write_text(json.dumps(content))
    (root / CHECKSUMS).write_text(checksum_lines(read_checksums(root) | {MANIFEST: file_sha256(root / MANIFEST)}))
    assert _shard_versions(root) and all(_shard_versions(root).values())
    with pytest.raises(FormatError, match="format version 0, this nws_data reads version 1, 2;"):
        Manifest.load(root)
    monkeypatch.setitem(READERS, 0, lambda values: READERS[1](values) | {"provenance": values["times"]})
    assert Manifest.load(root) == new
    assert verify(root).ok, verify(root).problems
    before = _vectors(root)
    assert len(before) == 4
    write(root, "random", staged, SIZES)
    assert b'"format_version": 1' in (root / "manifest.json").read_bytes()
    assert set(_shard_versions(root).values()) == {True, False}
    assert [problem for problem in verify(root).problems if "goes on after" not in problem] == []
    after = _vectors(root)
    assert len(after) == 8 and all((after[name] == vector).all() for name, vector in before.items())
