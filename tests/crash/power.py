"""What a power cut may leave of the files that were written last: nothing, zeros, half, or a name with nothing behind."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

DAMAGES = ("empty", "zeros", "cut", "end in zeros", "removed")
_TEN_YEARS = 10 * 365 * 86_400


def files_of(out: Path) -> dict[Path, int]:
    """Return every file under a folder with its inode; locks are left out."""
    found = {}
    for folder, _, names in os.walk(out):  # unlike rglob it bears that workers of a killed parent still work here
        for path in (Path(folder, name) for name in names if name not in ("lock", ".nws-lock")):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_ino
    return found


def written_last(out: Path, before: dict[Path, int]) -> list[Path]:
    """Return files that are new since ``before``, the last one first (by the kernel's change time)."""
    new = [path for path, inode in files_of(out).items() if before.get(path) != inode]
    return sorted(new, key=lambda path: -path.stat().st_ctime_ns)


def damage(path: Path, how: str) -> None:
    """Damage one file; raises ``KeyError`` for another word than one of :data:`DAMAGES`."""
    content = path.read_bytes()
    half = len(content) // 2
    left = {
        "empty": b"",
        "zeros": b"\0" * len(content),
        "cut": content[:half],
        "end in zeros": content[:half] + b"\0" * (len(content) - half),
        "removed": None,
    }[how]
    path.unlink()
    if left is not None:
        path.write_bytes(left)


def cut_power(out: Path, before: dict[Path, int], rng: random.Random) -> list[str]:
    """Damage one to three of the files written last; return what was done."""
    done = []
    for path in written_last(out, before)[: rng.randint(1, 3)]:
        how = rng.choice(DAMAGES)
        damage(path, how)
        done.append(f"{path.relative_to(out)} {how}")
    return done


def shift_times(paths: Sequence[Path], rng: random.Random) -> None:
    """Give files modification times years ago and years ahead; passes over those that are gone."""
    for path in paths:
        years_s = rng.uniform(-_TEN_YEARS, _TEN_YEARS)
        with suppress(FileNotFoundError):
            shifted = path.stat().st_mtime + years_s
            os.utime(path, (shifted, shifted))
