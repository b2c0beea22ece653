"""Checks every statement of FORMAT.md on a dataset: files, checksums, shards, metadata, identities.

The metadata is checked against the shards by rebuilding it: each training's rows are computed again from its row in
metadata/trainings and from the shard headers by the functions that wrote them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import FormatError, NWSError
from nws_data.space.identity import split_of, training_id, training_seed
from nws_data.storage.manifest import MANIFEST, Manifest, ShardEntry
from nws_data.storage.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
    Row,
    header_from_rows,
    read_table,
    snapshot_rows,
    training_row,
)
from nws_data.storage.records import TrainingHeader
from nws_data.storage.root import CHECKSUMS, OPTIONAL_FILES, README, UNFINISHED, listed_files, read_checksums, visible_files
from nws_data.storage.shards import Position, ShardHeader, read_header

Progress = Callable[[str, int, int], None]
"""Called as (path of the shard, bytes read so far, bytes in all)."""

MAX_PROBLEMS_PER_FILE = 5

_Problems = Iterator[str]
_Members = dict[str, tuple[str, Position]]  # training id: shard path, position


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What :func:`verify` found."""

    root: str
    problems: tuple[str, ...]  # each names the file and what is wrong; empty means that the dataset is sound
    n_files: int
    n_trainings: int
    n_bytes: int  # of the shard files
    deep: bool  # every byte of every shard was read

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self) | {"ok": self.ok}


def verify(root: Path, *, deep: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check a dataset against FORMAT.md; nothing is changed.

    Args:
        root: the dataset's folder.
        deep: read all shards too, for their SHA-256 and the column ``finite``; otherwise only headers and sizes.
        progress: called after every training read.

    Returns:
        The report. A folder that is no dataset at all gives one problem; nothing is raised for what the folder holds.
    """
    try:
        manifest = Manifest.load(root)
    except FormatError as error:
        return VerifyReport(root=str(root), problems=(str(error),), n_files=0, n_trainings=0, n_bytes=0, deep=deep)
    problems = [*_file_problems(root, manifest), *_checksum_problems(root, manifest)]
    headers = dict(_shard_headers(root, manifest, problems))
    members = _members(headers)
    trainings = _trainings(root, manifest, problems)
    problems += _identity_problems(manifest, trainings, members)
    problems += _snapshot_problems(root, manifest, trainings, members)
    if deep:
        problems += _data_problems(root, manifest, headers, trainings, progress)
    return VerifyReport(
        root=str(root),
        problems=tuple(problems),
        n_files=len(listed_files(manifest)),
        n_trainings=len(members),
        n_bytes=sum(shard.nbytes for shard in manifest.shards),
        deep=deep,
    )


def _file_problems(root: Path, manifest: Manifest) -> _Problems:
    if sorted(manifest.metadata_files) != sorted(manifest.sha256):
        yield f"{MANIFEST}: sha256 must name exactly the Parquet files; fetch it again"
    listed, found = listed_files(manifest), set(visible_files(root))
    if (root / UNFINISHED).exists():
        yield f"{UNFINISHED}: a writer was killed here; run the same build again to finish it"
    for path in sorted(listed - found):
        yield f"{path}: missing; fetch it again or rebuild the dataset"
    for path in sorted(found - listed - set(OPTIONAL_FILES)):
        yield f"{path}: does not belong to the dataset; move it away"


def _checksum_problems(root: Path, manifest: Manifest) -> _Problems:
    """Check SHA256SUMS, the manifest and the small files against each other; shards are hashed elsewhere."""
    if manifest.digest() != manifest.data_digest:
        yield f"{MANIFEST}: data_digest is not that of its entries; fetch it again"
    try:
        sums = read_checksums(root)
    except FormatError as error:
        yield str(error)
        sums = {}
    expected = manifest.file_sha256
    for path in sorted({*expected, README, MANIFEST} ^ set(sums)) if sums else ():
        yield f"{CHECKSUMS}: {path} is {'not listed' if path not in sums else 'listed but not part of the dataset'}"
    for path in sorted(path for path in expected if path in sums and sums[path] != expected[path]):
        yield f"{CHECKSUMS}: the entry of {path} is not that of {MANIFEST}"
    for path, sha256 in sorted((sums | manifest.sha256).items()):
        file = root / path
        if path in (README, MANIFEST, *manifest.sha256) and file.is_file() and _sha256(file) != sha256:
            yield f"{path}: altered: its SHA-256 is not the recorded one; fetch it again or rebuild the dataset"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shard_headers(root: Path, manifest: Manifest, problems: list[str]) -> Iterator[tuple[ShardEntry, ShardHeader]]:
    """Yield every shard whose header is sound; append what is wrong with the others, and with the order of all."""
    for population, entry in manifest.populations.items():
        for split, stored in entry.splits.items():
            last_key = ""
            for shard in stored.shards:
                if not (root / shard.path).is_file():
                    continue  # reported as missing
                try:
                    header = read_header(root / shard.path)
                except FormatError as error:
                    problems.append(str(error))
                    continue
                problems += _header_problems(shard, header, population, split, last_key)
                last_key = max(header.positions, default="")
                yield shard, header


def _header_problems(shard: ShardEntry, header: ShardHeader, population: str, split: str, last_key: str) -> _Problems:
    if (header.population, header.split) != (population, split):
        yield f"{shard.path}: holds {header.population}/{header.split}, expected {population}/{split}"
    if header.file_nbytes != shard.nbytes:
        yield f"{shard.path}: {header.file_nbytes} bytes, {MANIFEST} says {shard.nbytes}"
    ids = _ids(header)
    if (ids[:1], ids[-1:], len(ids)) != ([shard.first], [shard.last], shard.n_trainings):
        yield f"{shard.path}: its trainings are not those that {MANIFEST} names"
    for training in ids:
        if split_of(training) != split:
            yield f"{shard.path}: holds {training}, whose split is {split_of(training)}"
    if min(header.positions, default="t") <= last_key:
        yield f"{shard.path}: its first training does not come after the last one of the shard before"


def _ids(header: ShardHeader) -> list[str]:
    return [training_id(header.population, int(key[1:])) for key in header.positions]


def _members(headers: Mapping[ShardEntry, ShardHeader]) -> _Members:
    return {
        training: (shard.path, position)
        for shard, header in headers.items()
        for training, position in zip(_ids(header), header.positions.values(), strict=True)
    }


def _trainings(root: Path, manifest: Manifest, problems: list[str]) -> dict[str, TrainingHeader]:
    """Return every training that metadata/trainings describes soundly; append what is wrong with the others."""
    trainings: dict[str, TrainingHeader] = {}
    provenance = {row["training"]: row for row in _rows(root, manifest.provenance, PROVENANCE_SCHEMA, problems)}
    for split, path in manifest.trainings.items():
        found: list[str] = []
        for row in _rows(root, path, TRAINING_SCHEMA, problems):
            training = row["training"]
            try:
                header = header_from_rows(row, provenance.pop(training))
            except KeyError:
                found.append(f"{path}: {training} has no single row in {manifest.provenance}")
                continue
            except (NWSError, TypeError) as error:
                found.append(f"{path}: {training}: {error}")
                continue
            different = [name for name, value in training_row(header).items() if row[name] != value]
            if different or header.split != split:
                found.append(f"{path}: {training}: wrong {', '.join(different) or f'split, {header.split} by its id'}")
            trainings[training] = header
        problems += _first(found)
    problems += _first([f"{manifest.provenance}: {training} is no training of the dataset" for training in provenance])
    return trainings


def _rows(root: Path, path: str, schema: Any, problems: list[str]) -> list[Row]:
    if not (root / path).is_file():
        return []  # reported as missing
    try:
        return list(read_table(root / path, schema).to_pylist())
    except FormatError as error:
        problems.append(str(error))
        return []


def _first(found: list[str]) -> list[str]:
    """Return the first few problems of one kind and how many follow."""
    shown = found[:MAX_PROBLEMS_PER_FILE]
    return shown + ([f"... and {len(found) - len(shown)} more of this kind"] if len(found) > len(shown) else [])


def _identity_problems(manifest: Manifest, trainings: Mapping[str, TrainingHeader], members: _Members) -> list[str]:
    """Check seeds, image sets and vector lengths; each training must be in metadata and shards alike."""
    found = [
        f"{training}: in {members[training][0]}, but not in metadata/trainings" for training in members.keys() - trainings
    ]
    found += [f"{training}: in metadata/trainings, but in no shard" for training in trainings.keys() - members]
    names = {image_set.name for image_set in manifest.image_sets}
    return _first(sorted(chain(found, *(_training_problems(manifest, names, h, members) for h in trainings.values()))))


def _training_problems(manifest: Manifest, names: set[str], header: TrainingHeader, members: _Members) -> _Problems:
    training = header.training
    if header.population not in manifest.populations:
        yield f"{training}: {MANIFEST} has no population {header.population}"
        return
    build_seed = manifest.populations[header.population].plan["build_seed"]
    if build_seed is not None and header.seed != training_seed(build_seed, header.population, header.plan_index):
        yield f"{training}: seed {header.seed} does not follow from build seed {build_seed}"
    if header.hyperparameters.dataset not in names:
        yield f"{training}: image set {header.hyperparameters.dataset!r} is not in {MANIFEST}"
    if training in members:
        shard, position = members[training]
        if position.n_weights != header.architecture.n_weights:
            yield f"{training}: {shard} holds {position.n_weights} values, its architecture {header.architecture.n_weights}"


def _snapshot_problems(
    root: Path, manifest: Manifest, trainings: Mapping[str, TrainingHeader], members: _Members
) -> list[str]:
    """Compare metadata/<population> with the rows that trainings and shard headers give."""
    problems: list[str] = []
    for population, entry in manifest.populations.items():
        for split, stored in entry.splits.items():
            known = [h for h in trainings.values() if (h.population, h.split) == (population, split)]
            known = sorted((h for h in known if h.training in members), key=lambda h: h.plan_index)
            expected = chain.from_iterable(snapshot_rows(h, *members[h.training]) for h in known)
            rows = _rows(root, stored.metadata, SNAPSHOT_SCHEMA, problems)
            if not rows:
                continue
            if len(rows) != stored.n_snapshots:
                problems.append(f"{stored.metadata}: {len(rows)} rows, {MANIFEST} says {stored.n_snapshots}")
            problems += _first(list(_row_problems(stored.metadata, rows, expected)))
    return problems


def _row_problems(path: str, rows: list[Row], expected: Iterator[Row]) -> _Problems:
    """Yield one problem per wrong row; rows stand in the order of plan index and snapshot."""
    for row, right in zip(rows, islice(expected, len(rows)), strict=False):
        different = [name for name, value in right.items() if row[name] != value]
        if different:
            yield f"{path}: row of {right['training']}, snapshot {right['snapshot']}: wrong {', '.join(different)}"


def _data_problems(
    root: Path,
    manifest: Manifest,
    headers: Mapping[ShardEntry, ShardHeader],
    trainings: Mapping[str, TrainingHeader],
    progress: Progress | None,
) -> list[str]:
    """Read every shard once: its SHA-256, and whether each training's values are finite as its row says."""
    problems: list[str] = []
    n_done, n_total = 0, sum(shard.nbytes for shard in manifest.shards)
    for shard, header in headers.items():
        digest = hashlib.sha256()
        with open(root / shard.path, "rb") as stream:
            digest.update(stream.read(header.header_nbytes))
            for training, position in zip(_ids(header), header.positions.values(), strict=True):
                data = stream.read(position.nbytes)
                digest.update(data)
                finite = bool(np.isfinite(np.frombuffer(data, dtype="<f4")).all())
                if training in trainings and trainings[training].finite != finite:
                    problems.append(f"{training}: its values are {'' if finite else 'not '}finite, metadata says otherwise")
                n_done += position.nbytes
                if progress:
                    progress(shard.path, n_done, n_total)
        if digest.hexdigest() != shard.sha256:
            problems.append(f"{shard.path}: altered: its SHA-256 is not the recorded one; fetch it again or rebuild it")
    return problems
