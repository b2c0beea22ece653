"""The weight values of a dataset of which shards are not here: what is read of these comes from the hub, no more."""

from __future__ import annotations

from typing import Any

import numpy as np

from nws_data.hub.ranges import read_ranges
from nws_data.hub.repository import Repository
from nws_data.read.store import VALUE_BYTES, WeightStore


class StreamedStore(WeightStore):
    """Shards that are here are read from memory as in :class:`WeightStore`, pieces of others by HTTP ranges.

    Nothing is kept: what is read again is transferred again.
    """

    def __init__(self, store: WeightStore, repository: Repository) -> None:
        super().__init__(store.root, store.shards)
        self.repository = repository  # at a commit

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"repository": self.repository}

    def _pieces(self, shards: list[int], starts: list[int], stops: list[int]) -> list[np.ndarray]:
        absent = {shard for shard in set(shards) if not (self.root / self.shards[shard].path).is_file()}
        asked = [
            (self.shards[shard].path, start * VALUE_BYTES, stop * VALUE_BYTES)
            for shard, start, stop in zip(shards, starts, stops, strict=True)
            if shard in absent
        ]
        read = iter(read_ranges(self.repository, asked))
        return [
            np.frombuffer(next(read), "<f4") if shard in absent else self._views[shard][start:stop]
            for shard, start, stop in zip(shards, starts, stops, strict=True)
        ]

    def _advise(self, shards: list[int], starts: list[int], stops: list[int]) -> None:
        """Do nothing: a slow batch waited for the network."""
