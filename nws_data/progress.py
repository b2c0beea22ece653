"""Progress bars: all of them are made here. They are gone when they are done, so that results stay."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from nws_data.terminal import plain

Progress = Callable[[str, int, int], None]
"""Called as (what, such as the path of a file; bytes so far, bytes in all)."""

FITS = "{n_fmt}/{total_fmt} fits {bar} {remaining} left{postfix}"


def is_watched() -> bool:
    """Whether a bar is seen: stderr is a terminal, or this is a notebook. Not in workers of joblib: their parent draws."""
    if multiprocessing.current_process().name.startswith("Loky"):
        return False
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", ()) or (sys.stderr is not None and sys.stderr.isatty())


def progress_bar(*, shown: bool = True, **options: Any) -> Any:
    """Return a bar of tqdm with its options, a widget in a notebook; nothing is drawn where it is not seen."""
    from tqdm.auto import tqdm

    return tqdm(**{"leave": False, "dynamic_ncols": True, "disable": not (shown and is_watched())} | options)


@contextmanager
def bytes_bar(shown: bool = True) -> Iterator[Progress]:
    """Give a function of (path, bytes so far, bytes in all) that draws them."""
    form = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}"
    with progress_bar(shown=shown, unit="B", unit_scale=True, bar_format=form) as bar:

        def show(path: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(plain("/".join(PurePosixPath(path).parts[-2:])[-32:]), refresh=False)
            bar.update(done - bar.n)

        yield show
