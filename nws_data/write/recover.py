"""The dataset that stands in a folder, also after a kill or a power cut in the middle of writing it.

A writer first puts the manifest that it starts from into ``.nws-unfinished``. So even where manifest.json, which is
replaced last, came out of a power cut empty, the dataset before that writer is known, and its files are untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nws_data.atomic import sync_folder, write_bytes
from nws_data.errors import FormatError
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry, parse_manifest
from nws_data.format.manifest_copy import copied_manifest
from nws_data.format.root import CHECKSUMS, UNFINISHED
from nws_data.format.shards import read_header
from nws_data.format.untrusted import read_file
from nws_data.hashing import file_sha256

_NEW = b"new\n"


@contextmanager
def unfinished(root: Path, before: Manifest | None) -> Iterator[None]:
    """Mark the folder as half-written while the block runs; the mark stays when the block fails.

    The mark holds the manifest ``before``, or says that the dataset is new.
    """
    write_bytes(root / UNFINISHED, before.to_bytes() if before else _NEW)
    yield
    (root / UNFINISHED).unlink()
    sync_folder(root)


def sound_manifest(root: Path) -> Manifest | None:
    """Return the manifest of the dataset that is there to be appended to, or None.

    Where a writer was cut off it is that writer's dataset if it is complete to the byte, else the one before.
    Raises ``FormatError`` when a shard is missing, of another length or has another header, or a metadata file is altered:
    appending would give the damage new checksums.
    """
    mark = _content(root / UNFINISHED)
    if mark is None:
        written = (root / MANIFEST).exists() or (root / CHECKSUMS).exists() or copied_manifest(root)
        return _checked(root, Manifest.load(root)) if written else None
    before = None
    try:
        before = _parsed(mark)
        done = Manifest.load(root)
        known = before.shards if before else []
        return _checked(root, done, [shard for shard in done.shards if shard not in known])
    except FormatError:
        if before:
            return _checked(root, before)
        if mark == _NEW:
            return None
        if copy := copied_manifest(root):  # both the mark and manifest.json are damaged
            return _checked(root, copy)
        if not (root / MANIFEST).exists():
            return None
        raise


def damaged_files(root: Path, manifest: Manifest, deep: Iterable[ShardEntry] = ()) -> dict[str, str]:
    """Return what is wrong, by path: files missing, metadata altered, shards of another length or header.

    Args:
        root: the dataset's folder.
        manifest: names the files.
        deep: shards that are read whole, for their SHA-256.
    """
    shards = {shard.path: shard for shard in manifest.shards}
    read_whole = {shard.path for shard in deep}
    problems = {}
    for path, sha256 in manifest.file_sha256.items():
        file = root / path
        if not file.is_file():
            problems[path] = "is missing"
            continue
        sound = _is_sound_shard(file, shards[path]) if path in shards else True
        if not sound or ((path not in shards or path in read_whole) and file_sha256(file) != sha256):
            problems[path] = "is damaged"
    return problems


def _checked(root: Path, manifest: Manifest, deep: Iterable[ShardEntry] = ()) -> Manifest:
    for path, problem in damaged_files(root, manifest, deep).items():
        raise FormatError(f"{root / path} {problem}; fetch it again, see `nws verify {root}`")
    return manifest


def _is_sound_shard(path: Path, shard: ShardEntry) -> bool:
    """Whether length and header are right."""
    try:
        return path.stat().st_size == shard.nbytes and len(read_header(path).positions) == shard.n_trainings
    except FormatError:
        return False


def _content(path: Path) -> bytes | None:
    return read_file(path) if path.exists() else None


def _parsed(mark: bytes) -> Manifest | None:
    """Return the manifest before the writer that was cut off, None for a new dataset or a damaged mark."""
    try:
        return parse_manifest(mark, UNFINISHED)
    except FormatError:
        return None
