"""The one writer of datasets: staged trainings in, a complete dataset folder out (FORMAT.md, "Writing").

Order: shards, metadata, README.md and other descriptions, SHA256SUMS, manifest.json; then old metadata goes. Every step is a
pure function of the stored manifest and the staged trainings, so a run that was killed anywhere is repeated, not repaired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nws_data.atomic import write_bytes
from nws_data.errors import BuildError
from nws_data.format.card import render_card
from nws_data.format.croissant import croissant_json
from nws_data.format.manifest import MANIFEST, Manifest, PopulationEntry, ShardEntry, SplitEntry
from nws_data.format.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
    Row,
    digest_name,
    make_table,
    parquet_bytes,
    provenance_row,
    read_table,
    snapshot_rows,
    training_row,
)
from nws_data.format.picture import COLUMNS as PICTURE_COLUMNS
from nws_data.format.picture import draw_trainings
from nws_data.format.plan import plan_differences
from nws_data.format.records import TrainingFacts, TrainingHeader
from nws_data.format.root import CHECKSUMS, CROISSANT, PICTURE, README, checksum_lines
from nws_data.format.shards import SHARD_SIZES, WrittenShard, shard_key, tensor_nbytes, write_shard
from nws_data.hashing import sha256_of
from nws_data.space.identity import SPLITS, check_population, parse_id, training_seed
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text
from nws_data.write.folder import check_ours, exclusive, remove_unlisted, stored_manifest, unfinished
from nws_data.write.journal import Journal
from nws_data.write.planned_shards import planned_shards
from nws_data.write.sources import Source, StagedFile, read_ahead

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def write_population(
    root: str | Path,
    *,
    population: str,
    plan: Mapping[str, Any],
    image_sets: Sequence[ImageSet],
    records: Sequence[str | Path | Source],
    card_template: str,
    snapshots: Sequence[int] = SNAPSHOTS,
    shard_sizes: Sequence[int] = SHARD_SIZES,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Create a dataset or append to one; trainings that it holds already are skipped.

    Old shards are never touched. Killed anywhere and run again, it leaves the bytes of an undisturbed run.

    Args:
        root: the dataset's folder; new, empty, or an NWS dataset. A hidden folder such as ``.build`` may stand in it.
        population: ``"fixed"`` or ``"random"``; all records must be of it. The other one is left as it is.
        plan: everything that decides what a training is, but their number, as JSON values. ``build_seed`` is required:
            an int, or None where trainings were imported and have no seed to check.
        image_sets: in label order; those that the dataset has come first, unchanged; others may follow.
        records: finished trainings in any order: staging files of :class:`TrainingRecord`, or other sources.
        card_template: text of dataset_card.md with its placeholders.
        snapshots: numbers of those that the records' weights hold, in this order.
        shard_sizes: bytes at which a split's shards are closed, the last one repeating.
        progress: called with the bytes of weights of every training written, or kept from a killed run.

    Returns:
        The manifest as written.

    Raises:
        BuildError: the folder holds something else or is in use, or plan, image sets or records do not fit it.
        FormatError: a staged file or the dataset is damaged.
    """
    check_population(population)
    root = Path(root)
    with exclusive(root):
        old = stored_manifest(root)
        _check_same_snapshots(root, old, snapshots)
        plan = _checked_plan(old, population, plan, image_sets)
        sources = [StagedFile(Path(record)) if isinstance(record, str | Path) else record for record in records]
        new = _new_records(root, old, population, plan["build_seed"], image_sets, sources)
        with unfinished(root):
            journal = Journal(root)
            splits, rows, headers = _write_shards(root, old, population, new, snapshots, shard_sizes, journal, progress)
            manifest, tables = _write_metadata(root, old, population, plan, image_sets, snapshots, splits, rows, headers)
            described = _descriptions(root, manifest, tables, card_template)
            for name, content in described.items():
                write_bytes(root / name, content)
            small = {name: sha256_of(content) for name, content in described.items()}
            small[MANIFEST] = sha256_of(manifest.to_bytes())
            write_bytes(root / CHECKSUMS, checksum_lines(manifest.file_sha256 | small).encode())
            manifest.save(root)
            remove_unlisted(root, manifest)
            journal.remove()
    return manifest


def check_appendable(
    root: str | Path,
    population: str | None = None,
    plan: Mapping[str, Any] | None = None,
    image_sets: Sequence[ImageSet] = (),
    snapshots: Sequence[int] = SNAPSHOTS,
) -> Manifest | None:
    """Check before any work what :func:`write_population` will refuse, with arguments as there; nothing is written.

    Without a population the folder alone is checked. Returns the manifest of the dataset that is there, or None.

    Raises:
        BuildError: the folder holds something else, or plan, image sets or snapshots do not fit the dataset.
        FormatError: the dataset is damaged or of another version.
    """
    root = Path(root)
    check_ours(root)
    old = stored_manifest(root)
    _check_same_snapshots(root, old, snapshots)
    if population is not None and plan is not None:
        _checked_plan(old, population, plan, image_sets)
    return old


def _check_same_snapshots(root: Path, old: Manifest | None, snapshots: Sequence[int]) -> None:
    if old is not None and old.snapshots != tuple(snapshots):
        raise BuildError(
            f"{root} holds {snapshots_text(old.snapshots)} of each training, so trainings with {snapshots_text(snapshots)} "
            "cannot be added; give another folder"
        )


def _checked_plan(
    old: Manifest | None, population: str, plan: Mapping[str, Any], image_sets: Sequence[ImageSet]
) -> dict[str, Any]:
    """Return the plan as JSON stores it; raises ``BuildError`` when it or the image sets do not fit what is stored."""
    plan = json.loads(json.dumps(dict(plan)))
    seed = plan.get("build_seed", "missing")
    if seed is not None and not isinstance(seed, int):
        raise BuildError(f"plan needs build_seed, an int or None for imported trainings, got {seed!r}")
    stored = old.populations[population].plan if old and population in old.populations else plan
    if different := plan_differences(stored, plan):
        raise BuildError(
            f"population {population} was built with other options: {'; '.join(different)}. Give those, or build into "
            "another folder"
        )
    names = [image_set.name for image_set in image_sets]
    if len(set(names)) != len(names):
        raise BuildError(f"image sets must have different names, got {', '.join(names)}")
    known = old.image_sets if old else ()
    if tuple(image_sets[: len(known)]) != known:
        raise BuildError(
            f"the dataset's image sets are {known}; these must come first and unchanged, got {tuple(image_sets)}. "
            "Build into another folder"
        )
    return dict(plan)


def _new_records(
    root: Path,
    old: Manifest | None,
    population: str,
    build_seed: int | None,
    image_sets: Sequence[ImageSet],
    sources: Sequence[Source],
) -> list[Source]:
    """Return the trainings that the dataset does not hold, in plan order; raises ``BuildError``."""
    stored: dict[str, int] = {}  # seeds by id
    if old is not None:
        for table_path in old.trainings.values():
            table = read_table(root, old, table_path, ("training", "seed"))
            stored |= dict(zip(table["training"].to_pylist(), table["seed"].to_pylist(), strict=True))
    splits = old.populations[population].splits if old and population in old.populations else {}
    last = {name: parse_id(split.shards[-1].last)[1] for name, split in splits.items()}
    known, seen = {image_set.name for image_set in image_sets}, set()
    new: list[Source] = []
    for source in sources:
        header, path = source.facts, source.origin
        training, seed, image_set = header.training, header.seed, header.hyperparameters.dataset
        if header.population != population:
            raise BuildError(f"{path}: {training} is not of population {population}")
        if image_set not in known:
            raise BuildError(f"{path}: image set {image_set!r} is not among {', '.join(sorted(known))}")
        if build_seed is not None and seed != training_seed(build_seed, population, header.plan_index):
            raise BuildError(f"{path}: seed {seed} does not follow from build seed {build_seed}; stage it again")
        if training in seen:
            raise BuildError(f"{path}: {training} is staged twice; remove one")
        seen.add(training)
        if stored.get(training, seed) != seed:
            raise BuildError(f"{path}: seed {seed}, the dataset's {training} has {stored[training]}")
        if training in stored:
            continue
        if header.plan_index <= last.get(header.split, -1):
            raise BuildError(
                f"{training} comes before training {last[header.split]} of split {header.split}, which is written "
                "already, and shards are never rewritten; build into another folder"
            )
        new.append(source)
    if not new and not stored:
        raise BuildError("no trainings to write; stage at least one")
    return sorted(new, key=lambda source: source.facts.plan_index)


def _write_shards(
    root: Path,
    old: Manifest | None,
    population: str,
    sources: Sequence[Source],
    snapshots: Sequence[int],
    shard_sizes: Sequence[int],
    journal: Journal,
    progress: Callable[[int], None] | None,
) -> tuple[dict[str, tuple[ShardEntry, ...]], dict[str, list[pa.Table]], list[TrainingHeader]]:
    """Write the new shards; return old and new entries and the new rows of metadata/<population>, by split, and headers."""
    stored = old.populations[population].splits if old and population in old.populations else {}
    entries = {split: entry.shards for split, entry in stored.items()}
    vectors = [(source.facts.training, source.facts.architecture.n_weights) for source in sources]
    there = {split: len(shards) for split, shards in entries.items()}
    planned = planned_shards(vectors, shard_sizes, there, snapshots)
    tables: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}
    headers: list[TrainingHeader] = []
    for split in SPLITS:
        left = iter([source for source in sources if source.facts.split == split])
        for shard in planned.get(split, ()):
            members = list(islice(left, shard.n_trainings))
            written, finite = _write_shard(root, shard.path, population, split, members, snapshots, journal, progress)
            entries[split] = (*entries.get(split, ()), replace(shard, sha256=written.sha256))
            rows: list[Row] = []
            for source, is_finite in zip(members, finite, strict=True):
                headers.append(_header(source.facts, is_finite))
                position = written.positions[shard_key(headers[-1].plan_index)]
                rows += snapshot_rows(headers[-1], shard.path, position, snapshots)
            tables[split].append(pa.Table.from_pylist(rows, schema=SNAPSHOT_SCHEMA))  # far smaller than the rows
    return {split: entries[split] for split in SPLITS if split in entries}, tables, headers


def _write_shard(
    root: Path,
    name: str,
    population: str,
    split: str,
    members: Sequence[Source],
    snapshots: Sequence[int],
    journal: Journal,
    progress: Callable[[int], None] | None,
) -> tuple[WrittenShard, list[bool]]:
    """Write one shard, unless a killed writer completed it; return also whether each training's values are finite."""
    n_weights = {shard_key(source.facts.plan_index): source.facts.architecture.n_weights for source in members}
    if kept := journal.kept(name, population, split, n_weights, snapshots, members):
        if progress:
            progress(sum(tensor_nbytes(n, len(snapshots)) for n in n_weights.values()))
        return kept
    finite: list[bool] = []

    def tensors() -> Iterator[np.ndarray]:
        for weights in read_ahead(members):
            finite.append(bool(np.isfinite(weights.min()) and np.isfinite(weights.max())))  # NaN is both
            yield weights
            if progress:
                progress(weights.nbytes)

    written = write_shard(root / name, population, split, n_weights, tensors(), snapshots)
    journal.add(name, written, finite, members)
    return written, finite


def _header(facts: TrainingFacts, finite: bool) -> TrainingHeader:
    values = {field.name: getattr(facts, field.name) for field in fields(TrainingFacts)}
    return TrainingHeader(**values, finite=finite)


def _write_metadata(
    root: Path,
    old: Manifest | None,
    population: str,
    plan: dict[str, Any],
    image_sets: Sequence[ImageSet],
    snapshots: Sequence[int],
    shards: Mapping[str, tuple[ShardEntry, ...]],
    rows: Mapping[str, Sequence[pa.Table]],
    headers: Sequence[TrainingHeader],
) -> tuple[Manifest, dict[str, pa.Table]]:
    """Write the tables of old and new rows; return the manifest of the dataset that they describe, and them by path."""
    sha256: dict[str, str] = {}
    tables: dict[str, pa.Table] = {}

    def write(stem: str, schema: pa.Schema, rows: Sequence[Row] | pa.Table, before: str | None) -> str:
        """Write the rows of the old dataset's file ``before``, if any, and the new ones; return the path inside it."""
        stored = read_table(root, old, before) if before and old else None
        table = make_table(rows, schema, stored)
        content = parquet_bytes(table)
        path = digest_name(f"metadata/{stem}", content)
        tables[path] = table
        write_bytes(root / path, content)
        sha256[path] = sha256_of(content)
        return path

    populations = dict(old.populations) if old else {}
    stored = populations[population].splits if population in populations else {}
    splits = {}
    for split, entries in shards.items():
        before = stored[split].metadata if split in stored else None
        added = pa.concat_tables([SNAPSHOT_SCHEMA.empty_table(), *rows[split]])
        path = write(f"{population}/{split}-00000-of-00001", SNAPSHOT_SCHEMA, added, before)
        splits[split] = SplitEntry(metadata=path, shards=entries)
    populations[population] = PopulationEntry(plan=plan, splits=splits)

    trainings = {}
    for split in SPLITS:
        before = old.trainings.get(split) if old else None
        new = [training_row(header) for header in headers if header.split == split]
        if before or new:
            trainings[split] = write(f"trainings/{split}-00000-of-00001", TRAINING_SCHEMA, new, before)
    new = [provenance_row(header) for header in headers]
    provenance = write("provenance/trainings", PROVENANCE_SCHEMA, new, old.provenance if old else None)

    kept = {p.metadata for name, e in populations.items() if name != population for p in e.splits.values()}
    sha256 |= {path: value for path, value in (old.sha256 if old else {}).items() if path in kept}
    manifest = Manifest(
        data_digest="",
        image_sets=tuple(image_sets),
        populations=populations,
        trainings=trainings,
        provenance=provenance,
        sha256=sha256,
        snapshots=tuple(snapshots),
    )
    return replace(manifest, data_digest=manifest.digest()), tables


def _descriptions(root: Path, manifest: Manifest, tables: Mapping[str, pa.Table], card_template: str) -> dict[str, bytes]:
    """Return the files that describe a dataset whose tables are written, by name."""
    card = render_card(root, manifest, card_template, tables)
    days = [time[:10] for time in tables[manifest.provenance]["finished_at"].to_pylist()]
    last = max(filter(_DAY.fullmatch, days), default="")  # unknown of imported trainings
    trainings = pa.concat_tables(tables[path].select(PICTURE_COLUMNS) for path in manifest.trainings.values())
    return {
        README: card.encode(),
        CROISSANT: croissant_json(root, manifest, card, last),
        PICTURE: draw_trainings(trainings.to_pylist(), manifest.image_sets).encode(),
    }
