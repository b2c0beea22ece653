"""An entry: a folder with ``entry.toml``, result files and prediction files, made by anybody; its checks, as CI does them.

entry.toml                    see :class:`Entry`
<task>/<method>-<key>.json    result files, where ``nws bench run`` puts them
predictions/<name>.parquet    their prediction files, as ``nws bench run --predictions`` names them
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from baselines.registry import METHODS, options_of
from benchmarks.leaderboard.board.standings import check_same_data
from benchmarks.leaderboard.files.against_data import check_against_data, prediction_files, prediction_names, recompute
from benchmarks.leaderboard.files.checks import METHOD
from benchmarks.leaderboard.files.results import SOURCE, Result, ResultError
from benchmarks.leaderboard.submission.fields import NONE, TEXTS
from nws_data.errors import FormatError, NWSError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of
from nws_data.tasks.predictions import Predictions
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import parse_task

FILE = "entry.toml"
PREDICTIONS_FOLDER = "predictions"
FORMAT, FORMAT_VERSION = "nws-entry", 1
MAX_NBYTES = 1_000_000
"""Of each file: entries lie in the repository."""

SCORED, COUNTED, COUNTS = "predictions", "predictions, not scored", "counts"
"""How far a result was checked: its predictions were scored on the data again; they agree with its counts, but without the
data nobody sees which are right; there are none, and its counts agree with each other."""

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
        if not name.endswith(".json"):
            continue
        try:
            results.append(Result.load(path))
        except ResultError as error:
            raise EntryError(f"{name}: {error}") from error
        if results[-1].path.as_posix() != name:
            raise EntryError(f"{name}: the place of this result is {results[-1].path}")
        method, options = results[-1].method, results[-1].options
        if method in METHODS and (odd := options.keys() - options_of(method).keys() - {SOURCE}):
            raise EntryError(f"{name}: {method} has no option {sorted(odd)[0][:60]!r}")  # it would rename the others' rows
    if not results:
        raise EntryError("no result file")
    check_same_data(results)
    return entry, results


def check_entry(folder: Path, data: Path | None = None) -> list[tuple[Result, str]]:
    """Check an entry; returns each result with how it was checked, :data:`SCORED`, :data:`COUNTED` or :data:`COUNTS`.

    Given the dataset they are checked on it, and refused where they are not of it.

    Raises ``ResultError`` with the first thing that is wrong, ``FormatError`` where ``data`` is no dataset.
    """
    entry, results = read_entry(folder)
    named = {name for name in entry.files if name.startswith(f"{PREDICTIONS_FOLDER}/")}
    checked = []
    for result in results:
        names = prediction_names(result)
        there = [name for name in names if f"{PREDICTIONS_FOLDER}/{name}" in named]
        if there and len(there) < len(names):
            raise EntryError(f"{result.path}: of its {len(names)} prediction files {len(there)} are there; give all or none")
        if result.from_predictions and not there:
            raise EntryError(f"{result.path}: made from prediction files, which are not there")
        named -= {f"{PREDICTIONS_FOLDER}/{name}" for name in there}
        try:
            checked.append((result, _check(result, folder / PREDICTIONS_FOLDER if there else None, data)))
        except ResultError as error:
            raise EntryError(f"{result.path}: {error}") from error
    if named:
        raise EntryError(f"{sorted(named)[0]} belongs to none of the results")
    return checked


def has_data(result: Result, data: Path) -> bool:
    """Whether a folder holds the dataset that a result is of."""
    if not (data / MANIFEST).is_file():
        return False
    manifest, population = Manifest.load(data), parse_task(result.task).family.population
    return population in manifest.populations and manifest.population_digest(population) == result.data_digest


def _check(result: Result, predictions: Path | None, data: Path | None) -> str:
    if predictions is not None:
        check_counts(result, predictions)
    if data is None:
        return COUNTED if predictions else COUNTS
    check_against_data(result, data)
    return SCORED if predictions is not None and recompute(result, data, predictions) else COUNTS


def check_counts(result: Result, folder: Path) -> None:
    """Compare prediction files with a result, without the data: task, digest, trainings, items, and how often each class.

    Raises ``ResultError`` for the first difference.
    """
    for run, files in prediction_files(result, folder):
        items, classes = Counter[str](), Counter[str]()
        for name, path in files:
            try:
                predictions = Predictions.load(path)
            except NWSError as error:
                raise ResultError(str(error)) from error
            if (predictions.task, predictions.data_digest) != (name, result.data_digest):
                raise ResultError(f"{path.name} is of the task {predictions.task}, data {predictions.data_digest[:12]}")
            keys = list(zip(*(column.tolist() for column in predictions.keys.values()), strict=True))
            if len(set(keys)) < len(keys):
                raise ResultError(f"{path.name} predicts the same item twice")
            items.update(predictions.keys["training"].tolist())
            classes.update(predictions.values.tolist())
        score = run.score
        if dict(items) != dict(zip(score.trainings, score.n_items, strict=True)):
            raise ResultError(f"the prediction files of seed {run.seed} are about other items than test names")
        if isinstance(score, ClassificationScore):
            counted = [sum(row[i] for row in score.confusion) for i in range(len(score.classes))]
            if dict(classes) != {name: n for name, n in zip(score.classes, counted, strict=True) if n}:
                raise ResultError(f"the confusion of seed {run.seed} and its prediction files count the classes differently")
