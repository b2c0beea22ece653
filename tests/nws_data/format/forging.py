"""Altering a written dataset on purpose, checksums included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from nws_data.check.verify import verify
from nws_data.format.manifest import MANIFEST, Manifest, checksum_lines, data_digest
from nws_data.format.metadata import (
    parquet_bytes,
    read_table,
)
from nws_data.format.root import CHECKSUMS, read_checksums
from nws_data.hashing import sha256_of


def problems(root: Path, deep: bool = True) -> str:
    return "\n".join(verify(root, deep=deep).problems)


def forge(root: Path, path: str, schema: pa.Schema, edit: Callable[[list[dict[str, Any]]], None]) -> str:
    """Edit rows of a metadata file; make its name and every checksum fit, so that only its contents can give it away."""
    rows = read_table(root, Manifest.load(root), path).to_pylist()
    edit(rows)
    content = parquet_bytes(pa.Table.from_pylist(rows, schema=schema))
    (root / path).unlink()
    forged = f"{path[: path.rindex('-')]}-{sha256_of(content)[:12]}.parquet"
    (root / forged).write_bytes(content)
    for name in (MANIFEST, CHECKSUMS, "README.md"):
        (root / name).write_text((root / name).read_text().replace(path, forged))
    seal(root, {forged: sha256_of(content), "README.md": sha256_of((root / "README.md").read_bytes())})
    return forged


def seal(root: Path, sha256: dict[str, str], edit: Callable[[dict[str, Any]], None] = lambda content: None) -> None:
    """Put new digests into manifest.json and SHA256SUMS, and a data digest that fits; then edit the manifest."""
    content = json.loads((root / MANIFEST).read_text())
    content["sha256"] |= {path: value for path, value in sha256.items() if path in content["sha256"]}
    for population in content["populations"].values():
        for split in population["splits"].values():
            for shard in split["shards"]:
                shard["sha256"] = sha256.get(shard["path"], shard["sha256"])
    edit(content)
    shards = [s for p in content["populations"].values() for split in p["splits"].values() for s in split["shards"]]
    files = content["sha256"] | {shard["path"]: shard["sha256"] for shard in shards}
    content["data_digest"] = data_digest(files, content["provenance"])
    raw = json.dumps(content).encode()
    (root / MANIFEST).write_bytes(raw)
    (root / CHECKSUMS).write_text(checksum_lines(read_checksums(root) | sha256 | {MANIFEST: sha256_of(raw)}))


def set_value(row: int, column: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def edit(rows: list[dict[str, Any]]) -> None:
        rows[row][column] = value

    return edit
