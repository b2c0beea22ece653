"""The dataset folder: whose it is, who writes in it, which files belong to it, and SHA256SUMS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nws_data.atomic import is_temporary, make_folder, remove_stale
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.manifest_copy import copied_manifest
from nws_data.format.untrusted import read_file
from nws_data.lock import locked
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.space.identity import SPLITS

README = "README.md"
CHECKSUMS = "SHA256SUMS"
OPTIONAL_FILES = ("croissant.json",)
"""Files that may stand beside those of FORMAT.md."""

LOCK = ".nws-lock"
"""Locked by the process that writes in the folder; one that is left behind by a killed process is free."""

UNFINISHED = ".nws-unfinished"
"""Stands in the folder from a writer's first file to its last, so that a killed one's files are known as ours.

Holds the manifest before that writer, see recover.py.
"""

_FOLDERS = (
    *(f"metadata/{name}" for name in (*POPULATIONS, "trainings", "provenance")),
    *(f"weights/{name}" for name in POPULATIONS),
)
_OWN = re.compile(
    rf"(?:{'|'.join(SPLITS)})-00000-of-00001-[0-9a-f]{{12}}\.parquet|trainings-[0-9a-f]{{12}}\.parquet|"
    rf"(?:{'|'.join(SPLITS)})-\d{{5,}}\.safetensors"
)
"""Where writers put tables and shards, and how they name them; what is called otherwise is somebody else's."""

_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Claim a folder for writing; clear what a killed writer left under temporary names.

    Raises:
        BuildError: the folder holds something else, or another process writes in it.
    """
    check_ours(root)
    make_folder(root)
    with locked(root / LOCK, f"{root}: another process writes in this folder; wait until it has finished"):
        for folder in ("", *_FOLDERS):
            remove_stale(root / folder)
        yield


def refuse_links(root: Path, *names: str) -> None:
    """Raise ``BuildError`` where a folder to write in is a link: nothing outside the dataset is written or removed.

    Args:
        root: the dataset's folder, which may be a link itself.
        names: folders in it beside those of the data.
    """
    for path in [root / name for name in ("metadata", "weights", *_FOLDERS, *names)]:
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
    if not root.exists() or (root / MANIFEST).exists() or (root / UNFINISHED).exists() or copied_manifest(root):
        return
    if _names_manifest(root):
        raise BuildError(
            f"{root / MANIFEST} is missing, and there is no sound copy of it; fetch it from where the dataset came from, or "
            "give a new folder"
        )
    foreign = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    if foreign:
        raise BuildError(f"{root} holds something else than an NWS dataset ({', '.join(foreign[:3])}); give a new folder")


def _names_manifest(root: Path) -> bool:
    """Whether there is a SHA256SUMS of a dataset."""
    try:
        return MANIFEST in read_checksums(root)
    except FormatError:
        return False


def listed_files(manifest: Manifest) -> set[str]:
    """Return the paths of all files that belong to a dataset."""
    return {*manifest.file_sha256, README, CHECKSUMS, MANIFEST}


def remove_unlisted(root: Path, manifest: Manifest) -> None:
    """Remove what earlier writers left: replaced tables, and shards that nothing names."""
    listed = listed_files(manifest)
    for path in data_files(root):
        if path not in listed:
            (root / path).unlink()


def data_files(root: Path) -> list[str]:
    """Return the paths of all files that are named as tables and shards are, behind links too, sorted."""
    paths = (path for folder in _FOLDERS if (root / folder).is_dir() for path in (root / folder).iterdir())
    return sorted(path.relative_to(root).as_posix() for path in paths if _OWN.fullmatch(path.name) and path.is_file())


def visible_files(root: Path) -> list[str]:
    """Return the paths of all files but hidden ones, hidden folders' files and temporary ones, sorted.

    Whatever is no folder counts; linked folders are not looked into.
    """
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [n for n in names if not n.startswith(".") and not is_temporary(n)]
        paths += [(Path(folder) / name).relative_to(root).as_posix() for name in shown]
    return sorted(paths)


def checksum_lines(sha256: Mapping[str, str]) -> str:
    """Return the text of SHA256SUMS, as ``sha256sum -c`` reads it, sorted by path."""
    return "".join(f"{sha256[path]}  {path}\n" for path in sorted(sha256))


def read_checksums(root: Path) -> dict[str, str]:
    """Return SHA-256 in hex by path from SHA256SUMS; raises ``FormatError`` when missing or damaged."""
    try:
        lines = read_file(root / CHECKSUMS).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{root / CHECKSUMS}: cannot be read ({error}); fetch it again") from error
    matches = [_CHECKSUM_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        raise FormatError(f"{root / CHECKSUMS}: a line is not '<sha256>  <path>'; fetch it again")
    return {match[2]: match[1] for match in matches if match}
