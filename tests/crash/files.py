"""The files of a build, and wrong times on them."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_TEN_YEARS = 10 * 365 * 86_400


def files_of(out: Path) -> dict[Path, int]:
    """Return every file under a folder with its inode; locks are left out."""
    found = {}
    for folder, _, names in os.walk(out):  # unlike rglob it bears that workers of a killed parent still work here
        for path in (Path(folder, name) for name in names if name not in ("lock", ".nws-lock")):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_ino
    return found


def shift_times(paths: Sequence[Path], rng: random.Random) -> None:
    """Give files modification times years ago and years ahead; passes over those that are gone."""
    for path in paths:
        years_s = rng.uniform(-_TEN_YEARS, _TEN_YEARS)
        with suppress(FileNotFoundError):
            shifted = path.stat().st_mtime + years_s
            os.utime(path, (shifted, shifted))
