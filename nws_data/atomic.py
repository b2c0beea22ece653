"""The one way this package writes files: complete under its name, or not there at all.

Every file is written as ``.<name>.tmp-<number>`` in its own folder, flushed to disk, given mode 0644 and renamed; then the
folder is flushed. A killed process leaves at most such temporary files, which :func:`remove_stale` clears.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nws_data.errors import BuildError

_TEMPORARY = re.compile(r"\..+\.tmp-\d+")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new binary file that appears as ``path`` when the block ends without an error; folders are made as needed.

    Raises:
        BuildError: the system refuses (no space left, read-only, ...). The temporary file is removed first.
    """
    # Not the process id: writers on two machines of a cluster, or in two containers, may have the same.
    temporary = path.with_name(f".{path.name}.tmp-{secrets.randbits(64)}")
    try:
        make_folder(path.parent)
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        _discard(temporary)
        raise BuildError(_message(path, error)) from error
    except BaseException:
        _discard(temporary)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file by :func:`atomic_file`; raises ``BuildError``."""
    with atomic_file(path) as stream:
        stream.write(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are missing, each flushed to disk; an existing one is fine."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename or a removal in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Remove the temporary files that killed writers left directly in a folder in which no process writes now."""
    for path in sorted(folder.glob(".*")):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def _discard(temporary: Path) -> None:
    with suppress(OSError):  # the error that brought us here matters more than a file that is swept up later
        temporary.unlink()


def _message(path: Path, error: OSError) -> str:
    steps = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some space", errno.EFBIG: "see `ulimit -f`"}
    step = steps.get(error.errno or 0, "check the folder's rights")
    return f"cannot write {path}: {error.strerror or error}; {step} and run the same command again"
