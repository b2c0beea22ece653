"""An entry: a folder with ``entry.toml``, result files and prediction files, made by anybody and checked before use.

entry.toml                    see :class:`Entry`
<task>/<method>-<key>.json    result files, where ``nws bench run`` puts them
predictions/<name>.parquet    their prediction files, as ``nws bench run --predictions`` names them
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.board.standings import check_same_data
from benchmarks.leaderboard.files.checks import METHOD
from benchmarks.leaderboard.files.results import Result, ResultError
from benchmarks.leaderboard.submission.fields import NONE, TEXTS
from nws_data.errors import FormatError
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of

FILE = "entry.toml"
PREDICTIONS_FOLDER = "predictions"
FORMAT, FORMAT_VERSION = "nws-entry", 1
MAX_NBYTES = 1_000_000
"""Of each file: entries lie in the repository."""

_NAME = "at most 100 letters, digits and _ . + = -, no point first"
_TEXT = re.compile(r"(?!.*://)[^<>`|\\@]{1,200}")
"""Printable besides: no markup, no link, no mention."""
_LINK = re.compile(rf"{NONE}|https://[\w.-]+(?:/[\w./~%+=&?#:,-]*)?", re.ASCII)
_FILE = re.compile(r"(?:[\w.@=+-]+/)[\w.@=+-]+\.(?:json|parquet)", re.ASCII)


class EntryError(ResultError):
    """An entry that is damaged, tampered with, or says what it may not."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """``entry.toml``. Budget, hardware and data digest stand in the result files. Raises ``EntryError``."""

    name: str  # of the folder
    who: str
    what: str
    code: str
    paper: str
    trained_on: str
    files: Mapping[str, str]  # SHA-256 by path in the folder, of all files but this one

    def __post_init__(self) -> None:
        check_words(self.name, {field: getattr(self, field) for field in TEXTS})
        if not isinstance(self.files, dict) or not self.files:
            raise EntryError("files must name the entry's files with their SHA-256")
        for path, sha256 in self.files.items():
            if not _FILE.fullmatch(path) or any(part.startswith(".") for part in path.split("/")):
                raise EntryError(f"files: {path[:60]!r} is no path of a result or prediction file in an entry")
            if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
                raise EntryError(f"files: {path}: not a SHA-256 in hex: {str(sha256)[:60]!r}")

    def to_toml(self) -> str:
        """Return the file's text."""
        lines = [f'format = "{FORMAT}"', f"version = {FORMAT_VERSION}"]
        lines += [f"{name} = {_quoted(getattr(self, name))}" for name in ("name", *TEXTS)]
        lines += ["", "[files]", *(f"{_quoted(path)} = {_quoted(sha256)}" for path, sha256 in sorted(self.files.items()))]
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, folder: Path) -> Entry:
        """Read an entry's file; its other files are not looked at."""
        try:
            values = tomllib.loads(read_file(folder / FILE, MAX_NBYTES).decode())
        except (OSError, ValueError, RecursionError, FormatError) as error:
            raise EntryError(f"{FILE} cannot be read ({str(error)[:200]}); write it by nws bench submit") from error
        if (found := (values.pop("format", None), values.pop("version", None))) != (FORMAT, FORMAT_VERSION):
            raise EntryError(f"{FILE} must be {FORMAT} of version {FORMAT_VERSION}, got {str(found)[:60]}")
        if odd := set(values) ^ {field.name for field in fields(cls)}:
            raise EntryError(f"{FILE}: unknown or missing fields: {', '.join(sorted(odd))[:200]}")
        return cls(**values)


def check_words(name: str, texts: Mapping[str, Any]) -> None:
    """Raise ``EntryError`` for a name or texts of :data:`TEXTS` that an entry may not have, or lacks."""
    if not METHOD.holds(name) or name.startswith(".") or ":" in name:
        raise EntryError(f"--name must be {_NAME}, got {str(name)[:60]!r}")
    if missing := [field for field in TEXTS if not texts.get(field)]:
        flags = "; ".join(f"--{field.replace('_', '-')}, {TEXTS[field]}" for field in missing)
        raise EntryError(f"an entry also says {flags}")
    for field, about in TEXTS.items():
        value, pattern = texts[field], _LINK if field in ("code", "paper") else _TEXT
        if not isinstance(value, str) or len(value) > 200 or not value.isprintable() or not pattern.fullmatch(value):
            shown = str(value)[:60]
            raise EntryError(f"{field} must be {about}: at most 200 printable characters without markup, got {shown!r}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # printable text, whose escapes TOML shares


def read_entry(folder: Path) -> tuple[Entry, list[Result]]:
    """Read an entry with all its files: those it names, no others, no links, of the SHA-256 it names; and its results.

    Raises ``ResultError`` for the first thing that is wrong; results over different data are.
    """
    entry = Entry.load(folder)
    if entry.name != folder.name:
        raise EntryError(f"name is {entry.name!r}, but the folder is {folder.name!r}")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if odd := found ^ {*entry.files, FILE}:
        raise EntryError(f"{sorted(odd)[0][:100]!r} is {'not named in' if odd & found else 'missing, but named in'} {FILE}")
    results = []
    for name, sha256 in entry.files.items():
        path = folder / name
        try:
            if path.is_symlink() or path.parent.is_symlink():
                raise FormatError("a link")
            content = read_file(path, MAX_NBYTES)
        except (OSError, FormatError) as error:
            raise EntryError(f"{name} cannot be read: {str(error)[:200]}") from error
        if sha256_of(content) != sha256:
            raise EntryError(f"{name}: its SHA-256 is not the one in {FILE}: it was changed; write the entry again")
        if name.endswith(".json"):
            results.append(_result(path, name))
    if not results:
        raise EntryError("no result file")
    check_same_data(results)
    return entry, results


def _result(path: Path, name: str) -> Result:
    try:
        result = Result.load(path)
    except ResultError as error:
        raise EntryError(f"{name}: {error}") from error
    if result.path.as_posix() != name:
        raise EntryError(f"{name}: the place of this result is {result.path}")
    return result
