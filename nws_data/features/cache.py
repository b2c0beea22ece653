"""Features in the user's cache: one file a block, which is complete and correct or counts as absent.

A block holds features of one kind of the trainings of one shard at one snapshot; trainings are added as they are asked for.
Its name is SHA-256 over the shard's own SHA-256, its file's identity on this machine, the snapshot, the kind with its
parameters and the version of the computation. So every selection, task and fold shares the blocks, an extended dataset keeps
them, and a shard that changed never meets those of its predecessor. The recorded SHA-256 alone would not do: the manifest of
a stranger may name that of another shard. Nor may the cache lie in the dataset's folder, where a stranger's would be
believed. It may be deleted at any time.

File: 64 hex digits of SHA-256 over all that follows the newline behind them, one line of JSON (``key``, ``trainings``,
``shape``), and the features as little-endian float64, training by training.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.atomic import write_bytes
from nws_data.errors import BuildError, NWSError
from nws_data.hashing import sha256_of
from nws_data.home import user_cache

_DIGITS = 64
_FLOAT64 = np.dtype("<f8")

Block = dict[str, np.ndarray]
"""Features by training id, each float64 of one shape."""


def block_key(shard: Path, sha256: str, snapshot: int, kind: str, parameters: Mapping[str, Any], version: int) -> str:
    """Return a block's key in hex, of a shard's file and its recorded SHA-256."""
    found = shard.stat()
    content = {"shard": [sha256, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns], "snapshot": snapshot}
    content |= {"kind": kind, "parameters": parameters, "version": version}
    return sha256_of(json.dumps(content, sort_keys=True).encode())


def default_folder() -> Path:
    """Return ``nws/features`` in the user's cache, a path that cannot be written to where there is no home folder."""
    try:
        return user_cache() / "features"
    except NWSError:
        return Path(os.devnull) / "features"


class BlockCache:
    """Blocks in a folder, which is made when the first is written. One that cannot be written to is only read.

    Args:
        folder: such as :func:`default_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writable = True

    def path(self, kind: str, key: str) -> Path:
        """Return the file of a block."""
        return self.folder / kind / f"{key}.block"

    def read(self, kind: str, key: str) -> Block:
        """Return a block, empty where there is none, or only a damaged or foreign one."""
        try:
            return decode_block(key, self.path(kind, key).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self, kind: str, key: str, block: Block) -> None:
        """Write a block, complete or not at all; when the system refuses, warn once and keep nothing more."""
        if not self._writable:
            return
        try:
            write_bytes(self.path(kind, key), encode_block(key, block))
        except (BuildError, OSError) as error:
            self._writable = False
            warnings.warn(f"features are computed but not kept: {error}", stacklevel=2)


def encode_block(key: str, block: Block) -> bytes:
    """Return a block's file."""
    trainings = sorted(block)
    features = np.stack([block[training] for training in trainings]).astype(_FLOAT64)
    head = json.dumps({"key": key, "trainings": trainings, "shape": features.shape}).encode()
    content = head + b"\n" + features.tobytes()
    return sha256_of(content).encode() + b"\n" + content


def decode_block(key: str, raw: bytes) -> Block:
    """Return the block in a file's bytes; raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not right."""
    content = raw[_DIGITS + 1 :]
    if sha256_of(content).encode() + b"\n" != raw[: _DIGITS + 1]:
        raise ValueError("not the bytes that were written")
    head, _, values = content.partition(b"\n")
    about = json.loads(head)
    if about["key"] != key:
        raise ValueError("another block under this name")
    features = np.frombuffer(values, _FLOAT64).reshape(about["shape"])
    return dict(zip(about["trainings"], features.astype(np.float64), strict=True))
