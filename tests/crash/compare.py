"""Whether a dataset equals the one of an uninterrupted build, recorded timings aside."""

from __future__ import annotations

import json
import re
from pathlib import Path

_PROVENANCE = re.compile(r"(metadata/provenance/trainings)-[0-9a-f]{12}\.parquet")


def problems(out: Path, goal: Path) -> list[str]:
    """Return what is wrong with a dataset, [] when nothing: deep verification, and each difference from the goal."""
    from nws_data.check.verify import verify

    return [*verify(out).problems, *differences(out, goal)]


def differences(out: Path, goal: Path) -> list[str]:
    """Return how two datasets differ: names of all files and folders, hidden ones included, and every byte but timings."""
    mine, theirs = _contents(out), _contents(goal)
    found = [f"{name}: only in {out if name in mine else goal}" for name in sorted(mine.keys() ^ theirs.keys())]
    found += [f"{name}: differs" for name in sorted(mine.keys() & theirs.keys()) if mine[name] != theirs[name]]
    return found


def _contents(root: Path) -> dict[str, object]:
    """Return file contents by name; what records timings without them: provenance by the trainings in it."""
    from nws_data.format.manifest import Manifest

    contents: dict[str, object] = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if _PROVENANCE.fullmatch(name):
            contents[_without_digest(name)] = _trainings(path)
        else:
            contents[name] = path.read_bytes() if path.is_file() else "folder"
    manifest = json.loads(str(contents["manifest.json"], "utf-8"))  # type: ignore[call-overload]
    manifest["sha256"].pop(manifest["provenance"])
    manifest["provenance"] = _without_digest(manifest["provenance"])
    lines = (root / "SHA256SUMS").read_text().splitlines()
    contents["SHA256SUMS"] = [line for line in lines if "metadata/provenance/" not in line and "manifest.json" not in line]
    contents["manifest.json"] = manifest
    contents["data digest"] = Manifest.load(root).data_digest
    return contents


def _without_digest(name: str) -> str:
    return _PROVENANCE.sub(r"\1.parquet", name)


def _trainings(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["training"])["training"].to_pylist()
