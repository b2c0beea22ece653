"""Checks a dataset against FORMAT.md (its section "What nws verify checks" is the list): files, names, shards.

What cannot be compared, because a file that it needs is reported already, is left out: sound files are not accused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.check.verify_metadata import Damage, Members, MetadataCheck
from nws_data.errors import FormatError
from nws_data.format.card import header_problems
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry, SplitEntry
from nws_data.format.partial import restricted, wanted_shards
from nws_data.format.root import CHECKSUMS, OPTIONAL_FILES, README, UNFINISHED, listed_files, read_checksums, visible_files
from nws_data.format.shards import SHARD_SIZES, ShardHeader, read_header
from nws_data.format.tiers import tier_name
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of
from nws_data.progress import Progress
from nws_data.space.identity import split_of, training_id
from nws_data.space.trajectory import snapshots_text

ALTERED = "its SHA-256 is not the recorded one; fetch it again or rebuild the dataset"

_MAX_PROBLEM = 2_000  # characters: an error may quote megabytes of a file
_Problems = Iterator[str]


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What :func:`verify` found."""

    root: str
    problems: tuple[str, ...]  # each names the file and what is wrong; empty means that the dataset is sound
    n_damaged: int = 0  # how many of them are files missing, truncated or altered, which another copy cures
    n_files: int = 0
    n_trainings: int = 0  # in the shards that were checked
    n_bytes: int = 0  # of these shard files
    deep: bool  # every byte of these shards was read
    tier: str | None = None  # the tier that was checked; None: all that should be here
    n_shards_left: int = 0  # shards outside the tier, or that were not pulled into this folder: nothing is said of them

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self) | {"ok": self.ok}


def verify(
    root: str | Path, *, deep: bool = True, tier: str | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Check a dataset against FORMAT.md; nothing is changed.

    Args:
        root: the dataset's folder.
        deep: read all shards too, for their SHA-256 and the column ``finite``; otherwise only headers and sizes.
        tier: check the shards of this tier of every population, such as ``"1GB"``, and no others. By default all, but in
            a folder that was filled by ``nws pull`` those that were pulled and those that are there.
        progress: called after every training read.

    Returns:
        The report. A folder that is not a dataset gives one problem; nothing is raised for what the folder holds.

    Raises:
        SelectionError: a tier that is not a size, or one that is too small for this dataset.
    """
    root = Path(root)
    try:
        manifest = Manifest.load(root)
        wanted = wanted_shards(root, manifest) if tier is None else restricted(manifest, tier).shards
    except FormatError as error:
        return VerifyReport(root=str(root), problems=(str(error)[:_MAX_PROBLEM],), deep=deep)
    chosen = {shard.path for shard in wanted}
    problems = [*_file_problems(root, manifest, chosen)]
    headers = dict(_shard_headers(root, manifest, chosen, problems))
    members: Members = {
        training: (shard.path, position)
        for shard, header in headers.items()
        for training, position in zip(_ids(header), header.positions.values(), strict=True)
    }
    splits = [split for population in manifest.populations.values() for split in population.splits.items()]
    unread = [(name, s.first, s.last) for name, split in splits for s in split.shards if s not in headers]
    metadata = MetadataCheck(root, manifest, members, unread)
    problems += metadata.problems
    if deep:
        problems += _data_problems(root, headers, metadata.finite, progress)
    n_left = len(manifest.shards) - len(wanted)
    return VerifyReport(
        root=str(root),
        problems=tuple(str(problem)[:_MAX_PROBLEM] for problem in problems),
        n_damaged=sum(isinstance(problem, Damage) for problem in problems),
        n_files=len(listed_files(manifest)) - n_left,
        n_trainings=len(members),
        n_bytes=sum(shard.nbytes for shard in wanted),
        deep=deep,
        tier=None if tier is None else tier_name(tier),
        n_shards_left=n_left,
    )


def _file_problems(root: Path, manifest: Manifest, chosen: Collection[str]) -> _Problems:
    listed = listed_files(manifest)
    left = {shard.path for shard in manifest.shards} - set(chosen)
    for path in sorted(listed - left):
        if not (root / path).is_file():
            yield Damage(f"{path}: missing; fetch it again or rebuild the dataset")
    if (root / UNFINISHED).exists():  # what the manifest does not name, README.md and SHA256SUMS may be of the next dataset
        yield f"{UNFINISHED}: a writer works here or was killed; run the same build again to finish it"
        return
    yield from _checksum_problems(root, manifest)
    for path in sorted({*visible_files(root)} - listed - set(OPTIONAL_FILES)):
        yield f"{path}: does not belong to the dataset; move it away"


def _checksum_problems(root: Path, manifest: Manifest) -> _Problems:
    """Check SHA256SUMS, README.md and the manifest against each other; tables and shards are hashed where they are read."""
    sums, readable = {}, True
    try:
        sums = read_checksums(root)
    except FormatError as error:
        readable = False
        if (root / CHECKSUMS).exists():  # otherwise reported as missing
            yield Damage(error)
    expected = manifest.file_sha256
    described = (README, MANIFEST, *(name for name in OPTIONAL_FILES if name in sums))
    for path in sorted({*expected, *described} ^ set(sums)) if readable else ():
        yield f"{CHECKSUMS}: {path} is {'not listed' if path not in sums else 'listed but not part of the dataset'}"
    for path in sorted(path for path in expected if path in sums and sums[path] != expected[path]):
        yield f"{CHECKSUMS}: the entry of {path} is not that of {MANIFEST}"
    for path in described:
        try:
            raw = read_file(root / path)
        except (OSError, FormatError) as error:
            if (root / path).is_file():  # otherwise reported as missing
                yield Damage(error)
            elif path in OPTIONAL_FILES:
                yield Damage(f"{path}: missing, and {CHECKSUMS} names it; fetch it again or rebuild the dataset")
            continue
        if path in sums and sha256_of(raw) != sums[path]:
            yield Damage(f"{path}: altered: {ALTERED}")
        elif path == README:
            yield from header_problems(raw, manifest)


def _shard_headers(
    root: Path, manifest: Manifest, chosen: Collection[str], problems: list[str]
) -> Iterator[tuple[ShardEntry, ShardHeader]]:
    """Yield every chosen shard whose header is sound; append what is wrong with the others, and with the order of all."""
    for population, entry in manifest.populations.items():
        for split, stored in entry.splits.items():
            last_key = ""
            for shard in stored.shards:
                if shard.path not in chosen or not (root / shard.path).is_file():
                    continue  # reported as missing
                try:
                    header = read_header(root / shard.path)
                except FormatError as error:
                    problems.append(Damage(error))
                    continue
                problems += _header_problems(shard, header, population, split, last_key)
                if header.snapshots != manifest.snapshots:
                    text = snapshots_text(header.snapshots)
                    problems.append(f"{shard.path}: holds {text}, {MANIFEST} says {snapshots_text(manifest.snapshots)}")
                elif header.population == population:  # else its keys are no plan indices of this population
                    problems += _size_problems(stored, shard, header)
                    last_key = max(header.positions, default="")
                    yield shard, header


def _header_problems(shard: ShardEntry, header: ShardHeader, population: str, split: str, last_key: str) -> _Problems:
    if (header.population, header.split) != (population, split):
        yield f"{shard.path}: holds {header.population}/{header.split}, expected {population}/{split}"
    if header.file_nbytes != shard.nbytes:
        yield Damage(f"{shard.path}: {header.file_nbytes} bytes, {MANIFEST} says {shard.nbytes}")
    ids = _ids(header)
    if (ids[:1], ids[-1:], len(ids)) != ([shard.first], [shard.last], shard.n_trainings):
        yield f"{shard.path}: its trainings are not those that {MANIFEST} names"
    for training in ids if header.population == population else ():
        if split_of(training) != split:
            yield f"{shard.path}: holds {training}, whose split is {split_of(training)}"
    if min(header.positions, default="t") <= last_key:
        yield f"{shard.path}: its first training does not come after the last one of the shard before"


def _size_problems(stored: SplitEntry, shard: ShardEntry, header: ShardHeader) -> _Problems:
    """Check that the shard was closed at its size; it may have been closed before, by the end of a build."""
    size = SHARD_SIZES[min(stored.shards.index(shard), len(SHARD_SIZES) - 1)]
    if sum([position.nbytes for position in header.positions.values()][:-1]) >= size:
        yield f"{shard.path}: goes on after {size / 1e6:,.0f} MB of tensor data, where it must be closed"


def _ids(header: ShardHeader) -> list[str]:
    return [training_id(header.population, int(key[1:])) for key in header.positions]


def _data_problems(
    root: Path,
    headers: Mapping[ShardEntry, ShardHeader],
    described: Mapping[str, bool],
    progress: Progress | None,
) -> list[str]:
    """Read every shard once: its SHA-256, and whether each training's values are finite as its row says."""
    problems: list[str] = []
    n_done, n_total = 0, sum(shard.nbytes for shard in headers)
    for shard, header in headers.items():
        digest = hashlib.sha256()
        with open(root / shard.path, "rb") as stream:
            digest.update(stream.read(header.header_nbytes))
            for training, position in zip(_ids(header), header.positions.values(), strict=True):
                data = stream.read(position.nbytes)
                digest.update(data)
                finite = bool(np.isfinite(np.frombuffer(data, dtype="<f4")).all())
                if described.get(training, finite) != finite:
                    problems.append(f"{training}: its values are {'' if finite else 'not '}finite, metadata says otherwise")
                n_done += position.nbytes
                if progress:
                    progress(shard.path, n_done, n_total)
        if digest.hexdigest() != shard.sha256:
            problems.append(Damage(f"{shard.path}: altered: {ALTERED}"))
    return problems
