"""The dataset folder: names of its files, which belong to it, and SHA256SUMS."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nws_data.errors import FormatError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.untrusted import read_file
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.space.identity import SPLITS

README = "README.md"
CHECKSUMS = "SHA256SUMS"
CROISSANT = "croissant.json"
PICTURE = "trainings.svg"
OPTIONAL_FILES = (CROISSANT, PICTURE, "eval.yaml")
"""Files that may stand beside the others. What SHA256SUMS names of them belongs to the dataset; older ones have none."""

LOCK = ".nws-lock"
"""Locked by the process that writes in the folder; a file that a killed process left behind is free."""

UNFINISHED = ".nws-unfinished"
"""Stands in the folder from a writer's first file to its last, so that a killed one's files are known as ours."""

FOLDERS = (
    *(f"metadata/{name}" for name in (*POPULATIONS, "trainings", "provenance")),
    *(f"weights/{name}" for name in POPULATIONS),
)
"""Where writers put tables and shards."""

_OWN = re.compile(
    rf"(?:{'|'.join(SPLITS)})-00000-of-00001-[0-9a-f]{{12}}\.parquet|trainings-[0-9a-f]{{12}}\.parquet|"
    rf"(?:{'|'.join(SPLITS)})-\d{{5,}}\.safetensors"
)
"""How writers name tables and shards; files of other names are not ours."""

_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def listed_files(manifest: Manifest) -> set[str]:
    """Return the paths of all files that belong to a dataset."""
    return {*manifest.file_sha256, README, CHECKSUMS, MANIFEST}


def data_files(root: Path) -> list[str]:
    """Return the paths of all files that are named as tables and shards are, behind links too, sorted."""
    paths = (path for folder in FOLDERS if (root / folder).is_dir() for path in (root / folder).iterdir())
    return sorted(path.relative_to(root).as_posix() for path in paths if _OWN.fullmatch(path.name) and path.is_file())


def is_data_file(path: str) -> bool:
    """Whether a path inside a dataset is named as tables and shards are."""
    folder, _, name = path.rpartition("/")
    return folder in FOLDERS and bool(_OWN.fullmatch(name))


def visible_files(root: Path) -> list[str]:
    """Return the paths, sorted, of whatever is no folder, but hidden ones; hidden and linked folders are not looked into."""
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [(Path(folder) / name).relative_to(root).as_posix() for name in names if not name.startswith(".")]
    return sorted(paths)


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
