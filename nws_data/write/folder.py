"""The folder that a writer writes in: claimed by one process, checked to be a sound dataset or new, and cleared up.

A writer that is killed leaves the old manifest.json or the new one, each with all files that it names: files are written
under new names, complete and flushed to disk before the manifest. So there is nothing to repair; the same command writes
what is missing and removes what no manifest names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nws_data.atomic import make_folder, remove_stale, sync_folder, write_bytes
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry
from nws_data.format.root import FOLDERS, LOCK, UNFINISHED, data_files, listed_files
from nws_data.format.shards import read_header
from nws_data.hashing import file_sha256
from nws_data.lock import locked

_MAX_NAMED = 5  # damaged files in a message


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Claim a folder for writing; clear what a killed writer left under temporary names.

    Raises ``BuildError`` where it holds something else, or another process writes in it.
    """
    check_ours(root)
    make_folder(root)
    with locked(root / LOCK, f"{root}: another process writes in this folder; wait until it has finished"):
        for folder in ("", *FOLDERS):
            remove_stale(root / folder)
        yield


@contextmanager
def unfinished(root: Path) -> Iterator[None]:
    """Mark the folder as half-written while the block runs; the mark stays when the block fails."""
    write_bytes(root / UNFINISHED, b"")
    yield
    (root / UNFINISHED).unlink()
    sync_folder(root)


def refuse_links(root: Path, *names: str) -> None:
    """Raise ``BuildError`` where a folder of the data, or one of ``names``, is a link; ``root`` itself may be one."""
    for path in [root / name for name in ("metadata", "weights", *FOLDERS, *names)]:
        if path.is_symlink():
            raise BuildError(
                f"{path} is a link: a dataset can be read through links, but is written in one real folder only; move the "
                f"whole folder to where there is space, and make {root} the link"
            )


def check_ours(root: Path) -> None:
    """Raise ``BuildError`` unless the folder is new, empty, a dataset or an unfinished one; hidden names don't count.

    Folders inside must not be links.
    """
    if root.exists() and not root.is_dir():
        raise BuildError(f"{root} is a file; give a folder")
    refuse_links(root)
    if not root.exists() or (root / MANIFEST).exists() or (root / UNFINISHED).exists():
        return
    foreign = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if foreign:
        raise BuildError(
            f"{root} holds something else than an NWS dataset ({', '.join(foreign[:3])}); give a new folder, "
            f"or fetch {MANIFEST} again if it was lost"
        )


def stored_manifest(root: Path) -> Manifest | None:
    """Return the manifest of the dataset that is there to be appended to, None in a new folder.

    Raises ``FormatError`` when files of it are missing or damaged, as far as that is seen without reading weights:
    appending would give the damage new checksums.
    """
    if not (root / MANIFEST).exists():
        return None
    manifest = Manifest.load(root)
    shards = {shard.path: shard for shard in manifest.shards}
    damaged = [path for path in shards if not _is_sound(root / path, shards[path])]
    damaged += [p for p, sha256 in manifest.sha256.items() if not (root / p).is_file() or file_sha256(root / p) != sha256]
    if damaged:
        more = ", ..." if len(damaged) > _MAX_NAMED else ""
        raise FormatError(
            f"{root} is damaged: {len(damaged)} files are missing or altered ({', '.join(damaged[:_MAX_NAMED])}{more}); "
            f"`nws verify {root}` names all. Fetch them again (`nws pull`), or build into a new folder"
        )
    return manifest


def _is_sound(path: Path, shard: ShardEntry) -> bool:
    """Whether a shard's length and header are right."""
    try:
        return path.stat().st_size == shard.nbytes and len(read_header(path).positions) == shard.n_trainings
    except (OSError, FormatError):
        return False


def remove_unlisted(root: Path, manifest: Manifest) -> None:
    """Remove what earlier writers left: replaced tables, and shards that nothing names."""
    listed = listed_files(manifest)
    for path in data_files(root):
        if path not in listed:
            (root / path).unlink()
