"""The user's home folder: ``~`` in paths, and where caches lie."""

from __future__ import annotations

import os
from pathlib import Path

from nws_data.errors import NWSError


def expanded(path: str | Path) -> Path:
    """Return the path with ``~`` or ``~user`` at its start replaced; raises ``NWSError`` where that user has no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise NWSError(f"{path}: no home folder of that user is known here; set HOME, or give the whole path") from error


def user_cache() -> Path:
    """Return ``nws`` in the user's cache, ``$XDG_CACHE_HOME`` or ``~/.cache``; raises as :func:`expanded`."""
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "nws"
