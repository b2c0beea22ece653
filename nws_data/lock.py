"""One process at a time in a folder: a lock on a file, which ends with its process however that ends (``flock``).

It holds between processes and containers of one machine, and between machines where the file system passes locks on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nws_data.errors import BuildError


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file while the block runs; the file is made here and removed in the end, still under the lock.

    Raises:
        BuildError: with the message ``refusal`` when another process holds it, or removes it now with its folder; with
            another message when the file cannot be made or locked.
    """
    try:
        held = FileLock(path, blocking=False, fallback_to_soft=False).acquire()  # a soft lock would outlive a kill
    except (Timeout, FileNotFoundError, FileExistsError) as error:
        raise BuildError(refusal) from error
    except OSError as error:
        raise BuildError(
            f"{path} cannot be locked ({error.strerror}): it must be a file, not a link, that may be written, on a file "
            "system with locks; give a folder on another one"
        ) from error
    with held:
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
