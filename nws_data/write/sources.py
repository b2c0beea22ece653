"""What the writer writes: finished trainings, whose weights are read one by one, each while the one before is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from nws_data.format.records import TrainingFacts, TrainingRecord, load_header


class Source(Protocol):
    """A finished training: what is known of it at once, and its weights when their turn comes."""

    @property
    def facts(self) -> TrainingFacts:
        """All but the weights."""

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""

    @property
    def fingerprint(self) -> str | None:
        """Text that differs when the weights may; with it a shard that a killed writer completed is kept, None: not."""

    def weights(self) -> np.ndarray:
        """Read the weights, float32 ``(20, n_weights)`` in time order; called in another thread."""


class StagedFile:
    """A staging file of :class:`TrainingRecord`; raises ``FormatError`` when it is damaged."""

    fingerprint = None

    def __init__(self, path: Path) -> None:
        self._path, self.origin = path, str(path)
        self.facts: TrainingFacts = load_header(path)

    def weights(self) -> np.ndarray:
        """See :class:`Source`."""
        return TrainingRecord.load(self._path).weights


def read_ahead(sources: Sequence[Source]) -> Iterator[np.ndarray]:
    """Yield the weights of each source; the next ones are read meanwhile, one training ahead."""
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(source.weights) for source in sources[:1]]
        for source in [*sources[1:], None]:
            weights = coming.pop().result()
            if source is not None:
                coming.append(reader.submit(source.weights))
            yield weights
            del weights
