"""The format versions (FORMAT.md, "Versions"): which one is written, and a reader for each one that can be read.

A reader turns what manifest.json of its version says into what the newest version would say, before anything is checked; so
the rest of this package knows the newest version alone. Shards name their version too, and stay when a dataset is extended:
one dataset may have shards of several versions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nws_data.errors import FormatError
from nws_data.space.identity import NO_SPLIT
from nws_data.space.trajectory import SNAPSHOTS

FORMAT_VERSION = 2
"""The newest version."""

Reader = Callable[[dict[str, Any]], dict[str, Any]]
"""From the JSON object of a version's manifest.json to that of the newest version."""

READERS: dict[int, Reader] = {
    1: lambda values: values | {"snapshots": SNAPSHOTS},
    2: lambda values: values,
}
"""The reader of every version that can be read."""


def version_for(splits: Collection[str], snapshots: Sequence[int]) -> int:
    """Return the version in which a manifest or shard is written: the oldest that can say what it holds."""
    return 1 if tuple(snapshots) == SNAPSHOTS and NO_SPLIT not in splits else FORMAT_VERSION


def reader_of(version: object, name: str) -> Reader:
    """Return the reader of a version; ``name`` stands in the message. Raises ``FormatError`` for one that has none."""
    if type(version) is not int or version not in READERS:
        raise FormatError(
            f"{name}: format version {version!r:.40}, this nws_data reads version {', '.join(map(str, sorted(READERS)))}; "
            "upgrade nws-data to read a newer one"
        )
    return READERS[version]
