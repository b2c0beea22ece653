"""Jobs of joblib in processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from joblib import Parallel


def in_processes(jobs: Iterable[Any], workers: int, *, ordered: bool) -> Iterator[Any]:
    """Yield what ``delayed`` jobs return, in their order or as they end; so many run at a time, one in a process."""
    with warnings.catch_warnings():
        # A process that has grown by the data it read is replaced between two jobs; nothing is lost.
        warnings.filterwarnings("ignore", "A worker stopped")
        yield from Parallel(workers, return_as="generator" if ordered else "generator_unordered", batch_size=1)(jobs)
