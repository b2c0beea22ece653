"""What the writer writes: finished trainings, whose weights are read one by one, each while the one before is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from nws_data.format.records import TrainingFacts, TrainingRecord, load_facts

_FETCHED = 8
"""Trainings that the disk fetches ahead: many small files one by one keep no disk busy."""


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

    @property
    def files(self) -> Sequence[Path]:
        """What :meth:`weights` reads, to be fetched from disk ahead of it; may be empty."""

    def weights(self) -> np.ndarray:
        """Read the weights, float32 ``(snapshots, n_weights)`` in time order; called in another thread."""


class StagedFile:
    """A staging file of :class:`TrainingRecord`; raises ``FormatError`` when it is damaged."""

    fingerprint = None

    def __init__(self, path: Path) -> None:
        self.files, self.origin = (path,), str(path)
        self.facts = load_facts(path)

    def weights(self) -> np.ndarray:
        """See :class:`Source`."""
        return TrainingRecord.load(self.files[0]).weights


def read_ahead(sources: Sequence[Source]) -> Iterator[np.ndarray]:
    """Yield the weights of each source; meanwhile the next one is read, and the disk fetches those behind it."""

    def read(i: int) -> np.ndarray:
        if i + _FETCHED < len(sources):
            _fetch(sources[i + _FETCHED])
        return sources[i].weights()

    with ThreadPoolExecutor(1) as reader:
        for source in sources[:_FETCHED]:
            _fetch(source)
        coming = reader.submit(read, 0)
        for i in range(1, len(sources) + 1):
            weights = coming.result()
            if i < len(sources):
                coming = reader.submit(read, i)
            yield weights
            del weights


def _fetch(source: Source) -> None:
    """Ask the system to read a source's files from disk, without waiting for it."""
    for path in source.files if hasattr(os, "posix_fadvise") else ():
        with suppress(OSError):  # which reading will meet again
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            os.close(descriptor)
