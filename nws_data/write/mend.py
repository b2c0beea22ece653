"""Puts damaged files of a dataset right again: from what is sound beside them, and from trainings that were trained again.

Everything but provenance is a function of the plan. A shard is the weights of its trainings; metadata/<population> follows
from metadata/trainings and the shards' headers. manifest.json, which says what must be there, has a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry, SplitEntry, parse_manifest
from nws_data.format.manifest_copy import MANIFEST_COPY, copied_manifest
from nws_data.format.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
    Row,
    header_from_rows,
    provenance_row,
    read_table,
    snapshot_rows,
    training_row,
)
from nws_data.format.records import TrainingHeader, TrainingRecord, load_header
from nws_data.format.root import CHECKSUMS, UNFINISHED, data_files, exclusive, read_checksums
from nws_data.format.shards import read_header, shard_key, write_shard
from nws_data.format.untrusted import read_file
from nws_data.hashing import sha256_of
from nws_data.space.identity import parse_id, split_of, training_id
from nws_data.write.publish import Tables, publish
from nws_data.write.recover import damaged_files, sound_manifest, unfinished

_LOST: Row = {"wall_s": float("nan"), "finished_at": "", "host": "", "nws_version": "", "python_version": ""}
"""Provenance of a training whose row was damaged: nothing else knows it."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a dataset whose manifest is known."""

    manifest: Manifest
    files: tuple[str, ...]  # shards and tables, by path

    @property
    def trainings(self) -> list[str]:
        """Ids of the trainings to train again: those in damaged shards, and those whose learning curves are lost."""
        ids: set[str] = set()
        for population, entry in self.manifest.populations.items():
            for split, stored in entry.splits.items():
                curves_lost = self.manifest.trainings.get(split, "") in self.files
                shards = [shard for shard in stored.shards if curves_lost or shard.path in self.files]
                ids.update(training for shard in shards for training in members(population, split, shard))
        return sorted(ids, key=parse_id)


def members(population: str, split: str, shard: ShardEntry) -> list[str]:
    """Return the ids in a shard, from its entry; raises ``FormatError`` where a plan has gaps."""
    first, last = (parse_id(training)[1] for training in (shard.first, shard.last))
    ids = [training_id(population, index) for index in range(first, last + 1)]
    ids = [training for training in ids if split_of(training) == split]
    if len(ids) != shard.n_trainings:
        raise FormatError(f"{shard.path} is damaged, and which trainings it held cannot be told; fetch it again")
    return ids


def find_damage(root: Path) -> Damage | None:
    """Return what is damaged, or None; of each split the last shard, the one written last, is read whole.

    Raises ``FormatError`` when no manifest can be read.
    """
    try:
        manifest = sound_manifest(root)
    except FormatError:
        manifest = _stated_manifest(root)
    if manifest is None:
        return None
    last = [split.shards[-1] for entry in manifest.populations.values() for split in entry.splits.values()]
    files = damaged_files(root, manifest, last)
    return Damage(manifest, tuple(files)) if files else None


def _stated_manifest(root: Path) -> Manifest:
    """Return the manifest by manifest.json or else by the mark of a writer that was cut off."""
    try:
        return Manifest.load(root)
    except FormatError as error:
        try:
            return parse_manifest(read_file(root / UNFINISHED), UNFINISHED)
        except (OSError, FormatError):
            raise error from None


def restore_manifest(root: Path) -> bool:
    """Write manifest.json anew from its copy where it is missing or damaged; return whether it was.

    A folder that is new, sound, half-written, or without a sound copy is left alone. Raises ``FormatError``, and touches
    nothing, where the copy is not of this dataset: by SHA256SUMS, or since there are shards that it does not name.
    """
    if (root / UNFINISHED).exists() or (copy := copied_manifest(root)) is None:
        return False
    recorded, copied = _recorded_sha256(root), sha256_of(copy.to_bytes())
    try:
        Manifest.load(root)
        if recorded != copied or sha256_of(read_file(root / MANIFEST)) == recorded:
            return False
    except FormatError:
        pass
    unlisted = [path for path in data_files(root) if path.startswith("weights/") and path not in copy.file_sha256]
    if recorded not in (None, copied) or unlisted:
        why = f"which does not name {unlisted[0]}" if recorded in (None, copied) else f"not the one that {CHECKSUMS} names"
        raise FormatError(
            f"{root / MANIFEST} is missing or damaged, and its copy {MANIFEST_COPY} is of another dataset, {why}; fetch "
            "manifest.json again, or build into another folder"
        )
    copy.save(root)
    return True


def _recorded_sha256(root: Path) -> str | None:
    """Return the SHA-256 of manifest.json by SHA256SUMS, None where that is damaged too."""
    try:
        return read_checksums(root).get(MANIFEST)
    except FormatError:
        return None


def mend(root: Path, damage: Damage, records: Mapping[str, Path], card_template: str) -> None:
    """Write the damaged files anew.

    Args:
        root: the dataset's folder.
        damage: what :func:`find_damage` found.
        records: staging files of ``damage.trainings`` by id.
        card_template: text of dataset_card.md with its placeholders.

    Raises:
        BuildError: trainings that were trained again do not have the bytes of before; the folder is in use.
        FormatError: a staged file is damaged.
    """
    manifest = damage.manifest
    with exclusive(root), unfinished(root, manifest):
        for population, entry in manifest.populations.items():
            for split, stored in entry.splits.items():
                for shard in stored.shards:
                    if shard.path in damage.files:
                        _mend_shard(root, population, split, shard, records)
        publish(root, _mend_tables(root, damage, _headers(root, damage, records)), card_template)


def _mend_shard(root: Path, population: str, split: str, shard: ShardEntry, records: Mapping[str, Path]) -> None:
    ids = members(population, split, shard)
    n_weights = {shard_key(parse_id(name)[1]): load_header(records[name]).architecture.n_weights for name in ids}
    tensors: Iterator[np.ndarray] = (TrainingRecord.load(records[name]).weights for name in ids)
    written = write_shard(root / shard.path, population, split, n_weights, tensors)
    if written.sha256 != shard.sha256:
        raise BuildError(
            f"{shard.path} was damaged, and its trainings came out with other bytes when they were trained again (another "
            "version of torch?); fetch it again"
        )


def _headers(root: Path, damage: Damage, records: Mapping[str, Path]) -> dict[str, list[TrainingHeader]]:
    """Return the trainings of each split: from the tables, where a table is damaged from trainings trained again."""
    manifest, headers = damage.manifest, {}
    provenance: dict[str, Row] = {}
    if manifest.provenance not in damage.files:
        rows = read_table(root, manifest, manifest.provenance).to_pylist()
        provenance = {row["training"]: row for row in rows}
    for split, path in manifest.trainings.items():
        if path in damage.files:
            headers[split] = [load_header(file) for name, file in records.items() if split_of(name) == split]
        else:
            rows = read_table(root, manifest, path).to_pylist()
            headers[split] = [header_from_rows(row, provenance.get(row["training"], _LOST)) for row in rows]
    return headers


def _mend_tables(root: Path, damage: Damage, headers: Mapping[str, Sequence[TrainingHeader]]) -> Manifest:
    """Write the damaged tables; return the manifest, which is the same but for provenance."""
    manifest, tables = damage.manifest, Tables(root)
    populations = {}
    for population, entry in manifest.populations.items():
        splits = dict(entry.splits)
        for split, stored in entry.splits.items():
            if stored.metadata in damage.files:
                rows = _snapshot_rows(root, stored, {h.training: h for h in headers[split]})
                path = tables.write(f"{population}/{split}-00000-of-00001", SNAPSHOT_SCHEMA, rows)
                splits[split] = replace(stored, metadata=path)
        populations[population] = replace(entry, splits=splits)
    trainings = dict(manifest.trainings)
    for split, path in manifest.trainings.items():
        if path in damage.files:
            rows = [training_row(header) for header in headers[split]]
            trainings[split] = tables.write(f"trainings/{split}-00000-of-00001", TRAINING_SCHEMA, rows)
    provenance = manifest.provenance
    if provenance in damage.files:
        rows = [provenance_row(header) for members_ in headers.values() for header in members_]
        provenance = tables.write("provenance/trainings", PROVENANCE_SCHEMA, rows)
    mended = replace(manifest, populations=populations, trainings=trainings, provenance=provenance)
    kept = {path: sha256 for path, sha256 in manifest.sha256.items() if path in mended.metadata_files}
    mended = replace(mended, sha256=kept | tables.sha256)
    return replace(mended, data_digest=mended.digest())


def _snapshot_rows(root: Path, stored: SplitEntry, headers: Mapping[str, TrainingHeader]) -> list[Row]:
    rows: list[Row] = []
    for shard in stored.shards:
        header = read_header(root / shard.path)
        for key, position in header.positions.items():
            rows += snapshot_rows(headers[training_id(header.population, int(key[1:]))], shard.path, position)
    return rows
