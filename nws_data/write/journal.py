"""Which shards a killed writer had completed: a hidden file beside the dataset, there while a writer works.

Copies of datasets of hundreds of gigabytes go on from it. A shard is kept only when it holds the same trainings, read from
files that have not changed since, and when its header and length are right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nws_data.atomic import write_bytes
from nws_data.errors import FormatError
from nws_data.format.shards import WrittenShard, read_header
from nws_data.format.untrusted import parse_json, read_file
from nws_data.hashing import sha256_of
from nws_data.write.sources import Source

JOURNAL = ".nws-written"


class Journal:
    """The shards that were completed since the folder was marked as unfinished."""

    def __init__(self, root: Path) -> None:
        self._root, self._shards = root, dict[str, Any]()
        with suppress(OSError, ValueError, FormatError):  # absent, or damaged: then all shards are written again
            self._shards = dict(parse_json(read_file(root / JOURNAL)))

    def kept(self, path: str, header: bytes, sources: Sequence[Source]) -> tuple[WrittenShard, list[bool]] | None:
        """Return a shard that need not be written again, and whether each training in it is finite; None: write it."""
        entry, file = self._shards.get(path), self._root / path
        if not isinstance(entry, dict) or entry.get("sources") != _fingerprint(sources):
            return None
        with suppress(FormatError, LookupError, TypeError):
            found = read_header(file)  # with the length of the file
            with open(file, "rb") as stream:
                same = stream.read(found.header_nbytes) == header
            if same:
                finite = [key not in entry["non_finite"] for key in found.positions]
                return WrittenShard(found.file_nbytes, str(entry["sha256"]), found.positions), finite
        return None

    def add(self, path: str, written: WrittenShard, finite: Sequence[bool], sources: Sequence[Source]) -> None:
        """Note a shard that is complete on disk; those of sources without a fingerprint are not noted."""
        fingerprint = _fingerprint(sources)
        if fingerprint is not None:
            non_finite = [key for key, is_finite in zip(written.positions, finite, strict=True) if not is_finite]
            self._shards[path] = {"sources": fingerprint, "sha256": written.sha256, "non_finite": non_finite}
            write_bytes(self._root / JOURNAL, json.dumps(self._shards).encode())

    def remove(self) -> None:
        """Remove the file: the dataset is complete."""
        (self._root / JOURNAL).unlink(missing_ok=True)


def _fingerprint(sources: Sequence[Source]) -> str | None:
    texts = [source.fingerprint for source in sources]
    return None if None in texts else sha256_of("\n".join(map(str, texts)).encode())
