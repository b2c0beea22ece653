"""The small files of a dataset: metadata tables under names that hold their digest, then README.md, SHA256SUMS, manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from nws_data.atomic import write_bytes
from nws_data.format.card import render_card
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import Row, digest_name, make_table, parquet_bytes, read_table
from nws_data.format.root import CHECKSUMS, README, checksum_lines
from nws_data.hashing import sha256_of
from nws_data.write.folder import remove_unlisted


class Tables:
    """Writes metadata tables under names that hold their digest, and keeps the digests."""

    def __init__(self, root: Path, old: Manifest | None = None) -> None:
        self.root, self.old = root, old
        self.sha256: dict[str, str] = {}

    def write(self, stem: str, schema: pa.Schema, rows: Sequence[Row], before: str | None = None) -> str:
        """Write the rows of the old dataset's file ``before``, if any, and the new ones; return the path inside it."""
        old = read_table(self.root, self.old, before) if before and self.old else None
        content = parquet_bytes(make_table(rows, schema, old))
        path = digest_name(f"metadata/{stem}", content)
        write_bytes(self.root / path, content)
        self.sha256[path] = sha256_of(content)
        return path


def publish(root: Path, manifest: Manifest, card_template: str) -> None:
    """Write README.md, SHA256SUMS and, last, manifest.json; then remove what that does not name."""
    readme = render_card(root, manifest, card_template).encode()
    write_bytes(root / README, readme)
    small = {README: sha256_of(readme), MANIFEST: sha256_of(manifest.to_bytes())}
    write_bytes(root / CHECKSUMS, checksum_lines(manifest.file_sha256 | small).encode())
    manifest.save(root)
    remove_unlisted(root, manifest)
