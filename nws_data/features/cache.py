"""Features beside the dataset: one file a block, which is complete and right or counts as absent.

A block holds features of one kind of the trainings of one shard at one snapshot; trainings are added as they are asked for.
Its name is a content key: SHA-256 over the shard's own SHA-256, the snapshot, the kind with its parameters and the version
of the computation. So every selection, task and fold shares the blocks, an extended dataset keeps them, and a shard that
changed never meets those of its predecessor. The folder is hidden: checks, builds and uploads of the dataset ignore it, and
it may be deleted at any time.

File: 64 hex digits of SHA-256 over all that follows the newline behind them, one line of JSON (``key``, ``trainings``,
``shape``), and the features as little-endian float64, training by training.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import BuildError
from nws_data.storage.atomic import write_bytes

FOLDER = ".features"
"""Inside the dataset's folder."""

_DIGITS = 64
_FLOAT64 = np.dtype("<f8")

Block = dict[str, np.ndarray]
"""Features by training id, each float64 of one shape."""


def block_key(shard_sha256: str, snapshot: int, kind: str, parameters: Mapping[str, Any], version: int) -> str:
    """Return a block's content key in hex."""
    content = {"shard": shard_sha256, "snapshot": snapshot, "kind": kind, "parameters": parameters, "version": version}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class BlockCache:
    """Blocks in a folder, which is made when the first is written. One that cannot be written to is only read.

    Args:
        folder: see :data:`FOLDER`.
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
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def decode_block(key: str, raw: bytes) -> Block:
    """Return the block in a file's bytes; raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not right."""
    content = raw[_DIGITS + 1 :]
    if hashlib.sha256(content).hexdigest().encode() + b"\n" != raw[: _DIGITS + 1]:
        raise ValueError("not the bytes that were written")
    head, _, values = content.partition(b"\n")
    about = json.loads(head)
    if about["key"] != key:
        raise ValueError("another block under this name")
    features = np.frombuffer(values, _FLOAT64).reshape(about["shape"])
    return dict(zip(about["trainings"], features.astype(np.float64), strict=True))
