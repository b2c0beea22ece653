"""A dataset repository on the Hugging Face hub: its name, its commit, its files or ranges of them, errors in words."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nws_data.errors import DownloadError, NWSError, UploadError
from nws_data.format.manifest import MANIFEST
from nws_data.format.partial import REPOSITORY_NAME
from nws_data.format.untrusted import MAX_FILE_NBYTES

_ADDRESS = re.compile(rf"(hf://datasets/)?(?P<name>{REPOSITORY_NAME})(@(?P<revision>[\w./-]+))?", re.ASCII)
_SLACK = 1_000_000  # bytes by which what is counted may differ from a file's size, when a transfer is resumed
_LONGEST_WAIT_S = 60
_N_REQUESTS = 16  # for ranges, at once: a batch of windows waits for the network, not for bytes

Received = Callable[[int], None]
"""Called with the bytes of the file that came so far."""


@dataclass(frozen=True)
class Repository:
    """A dataset repository, such as ``owner/nws``, at a branch, tag or commit; None is ``main``."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def parse_repository(text: str) -> Repository | None:
    """Return the repository that ``owner/name``, ``owner/name@revision`` or ``hf://datasets/owner/name`` is, or None."""
    match = _ADDRESS.fullmatch(text)
    return Repository(match["name"], match["revision"]) if match else None


def find_commit(repository: Repository) -> tuple[str, Path]:
    """Return the commit that a revision stands for now, and that commit's manifest.json in the hub's cache.

    Without a network it is what it was when it was last asked for. Raises ``DownloadError``.
    """
    path = fetch(repository, repository.revision, MANIFEST, MAX_FILE_NBYTES)
    return path.parent.name, path


def fetch(
    repository: Repository,
    revision: str | None,
    path: str,
    limit: int,
    folder: Path | None = None,
    received: Received | None = None,
) -> Path:
    """Return a file of a revision: downloaded, unless it is there already; a file that is there is complete.

    ``revision`` is the full hash of a commit, or as in :class:`Repository`; an answer that goes on after ``limit`` bytes is
    cut off. The file is put under its path into ``folder``, by default the hub's cache. Raises ``DownloadError``.
    """
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class Bar(tqdm):
        """Shows nothing, counts and passes the number on."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options | {"disable": True})
            self.n_bytes = 0

        def update(self, n: float | None = 1) -> None:
            self.n_bytes += int(n or 0)
            if self.n_bytes > limit + _SLACK:
                raise DownloadError(f"{path}: the server sends more than the {limit:,} bytes that it may have; given up")
            if received:
                received(self.n_bytes)

    options: dict[str, Any] = {} if folder is None else {"local_dir": folder}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # not in old ones
        options["tqdm_class"] = Bar
    with translated_errors(repository, path):
        return Path(hf_hub_download(repository.name, path, repo_type="dataset", revision=revision, **options))


def read_ranges(repository: Repository, pieces: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Return the bytes of (path, first byte, byte after the last) by HTTP ranges, in the order asked.

    The repository's revision is a commit, so that all pieces are of the same files. Raises ``DownloadError``.
    """
    if not pieces:
        return []
    with translated_errors(repository, pieces[0][0]), ThreadPoolExecutor(_N_REQUESTS) as pool:
        return list(pool.map(partial(_read, repository), pieces))


def _read(repository: Repository, piece: tuple[str, int, int]) -> bytes:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff  # type: ignore[attr-defined]

    path, start, stop = piece
    url = hf_hub_url(repository.name, path, repo_type="dataset", revision=repository.revision)
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity", **build_hf_headers()}
    response = http_backoff("GET", url, headers=headers, timeout=30)
    hf_raise_for_status(response)
    content: bytes = response.content
    if response.status_code != 206 or len(content) != stop - start:  # 206: partial content
        raise DownloadError(
            f"{path} of {repository.name}: asked for {stop - start:,} bytes, got {len(content):,} with status "
            f"{response.status_code}; this server gives no ranges, or the shard is shorter than the metadata say: use a "
            "tier instead of stream=True"
        )
    return content


@contextmanager
def _no_long_wait(repository: Repository) -> Iterator[None]:
    """Give up where the server asks to wait for longer than a minute, which the hub's library would do in silence."""
    from huggingface_hub import get_session

    hooks = getattr(get_session(), "event_hooks", {"response": []})["response"]  # older versions have none

    def check(response: Any) -> None:
        wait_s = response.headers.get("retry-after", "")
        if response.status_code in (408, 429, 503) and wait_s.isdecimal() and int(wait_s[:9]) > _LONGEST_WAIT_S:
            raise DownloadError(f"the server of {repository} asks to wait for {wait_s[:9]} s; run the same again later")

    hooks.append(check)
    try:
        yield
    finally:
        hooks.remove(check)


@contextmanager
def translated_errors(repository: Repository, path: str, *, sending: bool = False) -> Iterator[None]:
    """Turn the errors of the hub's library into ``DownloadError``, or ``UploadError`` where files are sent."""
    from huggingface_hub import errors

    # Errors of the connection: its library is httpx in newer versions, requests, whose errors are OSErrors, in older ones.
    connection: tuple[Any, ...] = (OSError, RuntimeError, *errors.HfHubHTTPError.__bases__)
    if sending:  # a card that the hub refuses
        connection += (ValueError,)
    try:
        with _no_long_wait(repository):
            yield
    except connection as error:
        if isinstance(error, NWSError):
            raise
        if sending:
            raise UploadError(_sending_message(repository, error)) from error
        raise DownloadError(_message(repository, path, error)) from error


def _sending_message(repository: Repository, error: BaseException) -> str:
    from huggingface_hub import constants, errors

    name, hub = repository.name, constants.ENDPOINT
    status = _status(error)
    if status in (401, 403) or isinstance(error, errors.RepositoryNotFoundError):
        return f"you may not write to {name} on {hub} ({error}); log in with `hf auth login` and a token that may write"
    if status == 412:
        return f"{name} was changed by somebody else meanwhile; look at it, then run the same again"
    return f"{name} could not be sent to {hub} ({error}); run the same again, it goes on where it was"


def _status(error: BaseException | None) -> int | None:
    """Return the status of the server's answer that an error is about; None where there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _message(repository: Repository, path: str, error: BaseException) -> str:
    from huggingface_hub import constants, errors

    name, hub = repository.name, constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated: accept its terms at {hub}/datasets/{name}, then log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{hub} has no dataset {name!r} that you may read; check the name, or log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {repository.revision or 'main'!r}, or no longer; give another as {name}@REVISION"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        if path == MANIFEST:
            return f"{name} has no {MANIFEST}: not an NWS dataset; check the name"
        return f"{name} has no {path}, which its {MANIFEST} names: its upload is not complete; try again later"
    # Of a server that answers with an error, the library says that the file is not in the cache.
    if (status := _status(error) or _status(error.__cause__)) is not None:
        why = "too many requests" if status == 429 else "an error of the server" if status >= 500 else "a refusal"
        return f"{path} of {name}: {hub} answered {status}, {why}; run the same again later, finished files are kept"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return f"{path} of {name} is not in the cache, and {hub} cannot be reached; connect, unset HF_HUB_OFFLINE, try again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left for {path} of {name}: free some or take a smaller tier; finished files are kept"
    return f"{path} of {name} could not be fetched ({error}); run the same again, finished files are kept"
