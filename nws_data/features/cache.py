"""Features in the user's cache: one file a block, which is complete and correct or counts as absent.

A block holds features of one kind of the trainings of one shard at one snapshot; trainings are added as they are asked for.
Its name is SHA-256 over the shard's own SHA-256, its file's identity on this machine, the snapshot, the kind with its
parameters and the version of the computation. So every selection, task and fold shares the blocks, an extended dataset keeps
them, and a shard that changed never meets those of its predecessor. The recorded SHA-256 alone would not do: the manifest of
a stranger may name that of another shard. Nor may the cache lie in the dataset's folder, where a stranger's would be
believed. It may be deleted at any time.

File: SHA-256 of the rest in 64 hex digits, then numpy's npz of ``trainings`` (ids) and ``features`` (float64).
"""

from __future__ import annotations

import io
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
    """Blocks in a folder, which is made when the first is written. One that cannot be written to is only read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writable = True

    def read(self, kind: str, key: str) -> Block:
        """Return a block, empty where there is none, or only a damaged one."""
        try:
            raw = (self.folder / kind / f"{key}.block").read_bytes()
        except OSError:
            return {}
        if sha256_of(raw[64:]).encode() != raw[:64]:
            return {}
        with np.load(io.BytesIO(raw[64:])) as file:
            return dict(zip(file["trainings"].tolist(), file["features"], strict=True))

    def write(self, kind: str, key: str, block: Block) -> None:
        """Write a block, complete or not at all; when the system refuses, warn once and keep nothing more."""
        if not self._writable:
            return
        stream, trainings = io.BytesIO(), sorted(block)
        np.savez(stream, trainings=trainings, features=[block[training] for training in trainings])
        try:
            content = sha256_of(stream.getbuffer()).encode() + stream.getbuffer()
            write_bytes(self.folder / kind / f"{key}.block", content)
        except (BuildError, OSError) as error:
            self._writable = False
            warnings.warn(f"features are computed but not kept: {error}", stacklevel=2)
