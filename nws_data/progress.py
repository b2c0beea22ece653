"""The progress line of reading and downloading."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(hidden: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function of (path, bytes so far, bytes in all) that draws them, where somebody looks at a terminal."""
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, disable=hidden or not sys.stderr.isatty()) as bar:

        def show(path: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_description(path, refresh=False)
            bar.update(done - bar.n)

        yield show
