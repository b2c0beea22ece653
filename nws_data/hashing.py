"""SHA-256 in hex: of bytes, and of files of any length."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(content: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes, or of an array's memory."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces; raises ``OSError``."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
