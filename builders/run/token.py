"""The token of a running engine: a file in the staging folder that its workers have to see before they write there.

It shows that a worker on another machine sees the same folder, and keeps a worker that outlived its build (the parent was
killed) from writing into a later one. Its name is new every time, so that no cache of a network file system knows it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nws_data.atomic import write_bytes

_PREFIX = "token-"


@contextmanager
def staging_token(staging: Path) -> Iterator[str]:
    """Write a new token, remove those of dead builds, and yield its name; it goes in the end. Raises ``BuildError``."""
    remove_tokens(staging)
    name = _PREFIX + secrets.token_hex(8)
    write_bytes(staging / name, b"")
    try:
        yield name
    finally:
        (staging / name).unlink(missing_ok=True)


def remove_tokens(staging: Path) -> None:
    """Remove all tokens, so that workers of an earlier build stop."""
    for old in staging.glob(f"{_PREFIX}*"):
        old.unlink(missing_ok=True)


def sees_token(staging: Path, name: str, patience_s: float = 0.0) -> bool:
    """Whether the token is there, or comes up within ``patience_s`` seconds (network file systems lag)."""
    deadline = time.monotonic() + patience_s
    while not (staging / name).exists():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True
