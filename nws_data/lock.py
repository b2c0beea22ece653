"""Who may write in a folder: one process at a time, by a lock on a file that goes with its holder.

``flock`` belongs to the open file, not to a process id: it ends with its process however that ends, and holds between
containers and process namespaces of one machine. Between machines it holds where the shared file system passes locks on
(NFS with its lock service, Lustre with ``flock``), not on object stores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nws_data.errors import BuildError


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file, made and removed here, while the block runs; what the block does last is under the lock too.

    The file is removed while it is locked. Somebody who opened it just before so holds the lock of a file that is
    nowhere: whoever gets the lock looks whether the path still leads to that file, and else begins anew.

    Args:
        path: the lock file; its folder must exist.
        refusal: message of the error when another process holds it.

    Raises:
        BuildError: another process holds it.
        OSError: the file cannot be made.
    """
    descriptor = _claim(path, refusal)
    try:
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _claim(path: Path, refusal: str) -> int:
    """Return the descriptor of the locked file that stands at ``path``; raises as :func:`locked`."""
    while True:
        descriptor = _open(path)
        try:
            if not _try_lock(path, descriptor):
                raise BuildError(refusal)
            if _leads_to(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)


def _try_lock(path: Path, descriptor: int) -> bool:
    """Whether the lock could be had alone, at once; raises ``BuildError`` where the file system has none."""
    import fcntl  # here, because reading and checking datasets must work where it does not exist

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise BuildError(
            f"{path} cannot be locked ({error.strerror}): its file system must have locks, so that two processes do not "
            "write in one folder; give a folder on another one"
        ) from error
    return True


def _leads_to(path: Path, descriptor: int) -> bool:
    """Whether the path leads to the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
