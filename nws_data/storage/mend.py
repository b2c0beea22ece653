"""Puts damaged files of a dataset right again: from what is sound beside them, and from trainings that were trained again.

Everything but provenance is a function of the plan. A shard is the weights of its trainings; metadata/<population> follows
from metadata/trainings and the shards' headers; manifest.json from SHA256SUMS, the shards and the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import BuildError, FormatError
from nws_data.space.identity import SPLITS, parse_id, split_of, training_id
from nws_data.space.image_sets import ImageSet
from nws_data.storage.manifest import MANIFEST, Manifest, PopulationEntry, ShardEntry, SplitEntry, parse_manifest
from nws_data.storage.metadata import (
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
from nws_data.storage.publish import Tables, publish
from nws_data.storage.records import TrainingHeader, TrainingRecord, load_header
from nws_data.storage.recover import damaged_files, sound_manifest, unfinished
from nws_data.storage.root import CHECKSUMS, UNFINISHED, exclusive, read_checksums, sha256_of
from nws_data.storage.shards import read_header, shard_key, write_shard

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
            return parse_manifest((root / UNFINISHED).read_bytes(), UNFINISHED)
        except (OSError, FormatError):
            raise error from None


def has_lost_manifest(root: Path) -> bool:
    """Whether the folder is a dataset by its SHA256SUMS, but without manifest.json."""
    if (root / MANIFEST).exists() or (root / UNFINISHED).exists() or not (root / CHECKSUMS).is_file():
        return False
    try:
        return MANIFEST in read_checksums(root)
    except FormatError:
        return False


def restore_manifest(root: Path, plan: Mapping[str, Any], image_sets: Sequence[ImageSet]) -> bool:
    """Write manifest.json anew where it is missing or damaged and SHA256SUMS proves what it was; return whether it was.

    Args:
        root: the folder; one that is new, or sound, is left alone.
        plan: the plan of all populations, as JSON values; their compute paths are those that their trainings record.
        image_sets: of the dataset.
    """
    if (root / UNFINISHED).exists():
        return False
    try:
        Manifest.load(root)
        return False
    except FormatError:
        pass
    try:
        manifest = _manifest_from_checksums(root, plan, image_sets)
    except (FormatError, OSError, KeyError, IndexError, ValueError):
        return False
    if manifest is None:
        return False
    manifest.save(root)
    return True


def _manifest_from_checksums(root: Path, plan: Mapping[str, Any], image_sets: Sequence[ImageSet]) -> Manifest | None:
    """Return the manifest that has the SHA-256 which SHA256SUMS gives for it, or None."""
    sums = read_checksums(root)
    computed = _compute_paths(root, sums)
    populations: dict[str, PopulationEntry] = {}
    for name in sorted({path.split("/")[1] for path in sums if path.startswith("weights/")}):
        splits = {}
        for split in SPLITS:
            shards = tuple(_shard_entries(root, name, split, sums))
            if shards:
                splits[split] = SplitEntry(metadata=_only(sums, f"metadata/{name}/{split}-"), shards=shards)
        populations[name] = PopulationEntry(plan={**plan, "compute_path": computed[name]}, splits=splits)
    found = [split for split in SPLITS if any(path.startswith(f"metadata/trainings/{split}-") for path in sums)]
    manifest = Manifest(
        data_digest="",
        image_sets=tuple(image_sets),
        populations=populations,
        trainings={split: _only(sums, f"metadata/trainings/{split}-") for split in found},
        provenance=_only(sums, "metadata/provenance/"),
        sha256={path: sha256 for path, sha256 in sums.items() if path.startswith("metadata/")},
    )
    manifest = replace(manifest, data_digest=manifest.digest())
    return manifest if sha256_of(manifest.to_bytes()) == sums[MANIFEST] else None


def _compute_paths(root: Path, sums: Mapping[str, str]) -> dict[str, str]:
    """Return the compute path by population, as the trainings record it."""
    paths: dict[str, str] = {}
    for path in (path for path in sums if path.startswith("metadata/trainings/")):
        table = read_table(root / path, TRAINING_SCHEMA, ("population", "compute_path"))
        paths |= dict(zip(table["population"].to_pylist(), table["compute_path"].to_pylist(), strict=True))
    return paths


def _only(paths: Mapping[str, str], prefix: str) -> str:
    (path,) = (path for path in paths if path.startswith(prefix))
    return path


def _shard_entries(root: Path, population: str, split: str, sums: Mapping[str, str]) -> Iterator[ShardEntry]:
    for path in sorted(path for path in sums if path.startswith(f"weights/{population}/{split}-")):
        header = read_header(root / path)
        ids = [training_id(population, int(key[1:])) for key in header.positions]
        yield ShardEntry(
            path=path, nbytes=header.file_nbytes, sha256=sums[path], first=ids[0], last=ids[-1], n_trainings=len(ids)
        )


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
        rows = read_table(root / manifest.provenance, PROVENANCE_SCHEMA).to_pylist()
        provenance = {row["training"]: row for row in rows}
    for split, path in manifest.trainings.items():
        if path in damage.files:
            headers[split] = [load_header(file) for name, file in records.items() if split_of(name) == split]
        else:
            rows = read_table(root / path, TRAINING_SCHEMA).to_pylist()
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
