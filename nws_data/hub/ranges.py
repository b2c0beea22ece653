"""Pieces of a commit's files by HTTP range requests, several at once: no file is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from nws_data.errors import DownloadError
from nws_data.hub.repository import Repository, translated_errors

_N_REQUESTS = 16
"""Requests at once: a batch of windows waits for the network, not for bytes."""

_PARTIAL = 206


def read_ranges(repository: Repository, pieces: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Return the bytes of (path, first byte, byte after the last), in the order asked; raises ``DownloadError``.

    The repository's revision is a commit, so that all pieces are of the same files.
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
    if response.status_code != _PARTIAL or len(content) != stop - start:
        raise DownloadError(
            f"{path} of {repository.name}: asked for {stop - start:,} bytes, got {len(content):,} with status "
            f"{response.status_code}; this server gives no ranges, or the shard is shorter than the metadata say: use a "
            "tier instead of stream=True"
        )
    return content
