"""What a power cut may leave of the files that were written last: nothing, zeros, half, or a name with nothing behind."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

DAMAGES = ("empty", "zeros", "cut", "end in zeros", "removed")
_TEN_YEARS = 10 * 365 * 86_400


def files_of(out: Path) -> dict[Path, int]:
    """Return every file under a folder with its inode; locks are left out."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in ("lock", ".nws-lock")]
    return {path: path.stat().st_ino for path in paths}


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
    """Give files modification times years ago and years ahead."""
    for path in paths:
        shifted = path.stat().st_mtime + rng.uniform(-_TEN_YEARS, _TEN_YEARS)
        os.utime(path, (shifted, shifted))
