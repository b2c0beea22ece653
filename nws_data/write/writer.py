"""The one writer of datasets: staged trainings in, a complete dataset folder out (FORMAT.md, "Writing").

Order: shards, metadata, README.md and other descriptions, SHA256SUMS, manifest.json; then old metadata goes. Every step is a
pure function of the stored manifest and the staged trainings, so a run that was killed anywhere is repeated, not repaired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nws_data.atomic import write_bytes
from nws_data.errors import BuildError
from nws_data.format.card import render_card
from nws_data.format.croissant import croissant_json
from nws_data.format.manifest import MANIFEST, Manifest, PopulationEntry, SplitEntry, checksum_lines
from nws_data.format.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
    Row,
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
from nws_data.format.records import TrainingFacts
from nws_data.format.root import CHECKSUMS, CROISSANT, PICTURE, README
from nws_data.format.shards import SHARD_SIZES, WrittenShard, encode_shard_header, shard_key, tensor_nbytes, write_shard
from nws_data.hashing import sha256_of
from nws_data.progress import Progress
from nws_data.space.identity import SPLITS, check_population, parse_id, training_seed
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text
from nws_data.write.folder import check_ours, exclusive, remove_unlisted, stored_manifest, unfinished
from nws_data.write.journal import Journal
from nws_data.write.planned_shards import planned_shards
from nws_data.write.sources import Source, StagedFile, read_ahead

_NOTHING = PopulationEntry(plan={}, splits={})
_EMPTY = Manifest(image_sets=(), populations={}, trainings={}, provenance="", sha256={})
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

Trainings = tuple[Mapping[str, Any], Sequence[str | Path | Source]]
"""Of a population: its plan, everything that decides what a training is, but their number; and finished trainings."""


def write_dataset(
    root: str | Path,
    *,
    populations: Mapping[str, Trainings],
    image_sets: Sequence[ImageSet],
    card_template: str,
    snapshots: Sequence[int] = SNAPSHOTS,
    shard_sizes: Sequence[int] = SHARD_SIZES,
    whole: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Create a dataset or append to one; trainings that it holds already are skipped.

    Old shards are never touched. Killed anywhere and run again, it leaves the bytes of an undisturbed run.

    Args:
        root: the dataset's folder; new, empty, or an NWS dataset. A hidden folder such as ``.build`` may stand in it.
        populations: by name, ``"fixed"`` or ``"random"``. One that is not named is left as it is. The plan has JSON values;
            ``build_seed`` is required: an int, or None where trainings were imported and have no seed to check. Trainings
            in any order: staging files of :class:`TrainingRecord`, or other sources.
        image_sets: in label order; those that the dataset has come first, unchanged; others may follow.
        card_template: text of dataset_card.md with its placeholders.
        snapshots: numbers of those that the trainings' weights hold, in this order.
        shard_sizes: bytes at which a split's shards are closed, the last one repeating.
        whole: refuse a dataset that holds other trainings than these.
        progress: called after every training that was written, or kept from a killed run.

    Returns:
        The manifest as written.

    Raises:
        BuildError: the folder holds something else or is in use, or plans, image sets or trainings do not fit it.
        FormatError: a staged file or the dataset is damaged.
    """
    root = Path(root)
    with exclusive(root):
        old = stored_manifest(root) or replace(_EMPTY, snapshots=tuple(snapshots))
        _check_same_snapshots(root, old, snapshots)
        stored, plans, new = _stored_seeds(root, old), {}, {}
        sources: dict[str, list[Source]] = {
            name: [StagedFile(Path(record)) if isinstance(record, str | Path) else record for record in records]
            for name, (_, records) in populations.items()
        }
        others = stored.keys() - {source.facts.training for members in sources.values() for source in members}
        if whole and others:
            raise BuildError(f"{root} holds another dataset, with {', '.join(sorted(others)[:3])}; give a new folder")
        for name, (plan, _) in populations.items():
            plans[name] = _checked_plan(old, name, plan, image_sets)
            new[name] = _new_sources(old, name, plans[name]["build_seed"], image_sets, sources[name], stored)
        with unfinished(root):
            run = _Run(root, old, snapshots, shard_sizes, new, progress)
            manifest = run.manifest(plans, image_sets)
            _finish(root, manifest, run.tables, card_template)
            run.journal.remove()
    return manifest


def check_appendable(
    root: str | Path, population: str = "", plan: Mapping[str, Any] | None = None, image_sets: Sequence[ImageSet] = ()
) -> Manifest | None:
    """Check before any work what :func:`write_dataset` will refuse of all snapshots, raising as it does; write nothing.

    Without a population the folder alone is checked. Returns the manifest of the dataset that is there, or None.
    """
    root = Path(root)
    check_ours(root)
    if old := stored_manifest(root):
        _check_same_snapshots(root, old, SNAPSHOTS)
    if plan is not None:
        _checked_plan(old or _EMPTY, population, plan, image_sets)
    return old


def _check_same_snapshots(root: Path, old: Manifest, snapshots: Sequence[int]) -> None:
    if old.snapshots != tuple(snapshots):
        raise BuildError(
            f"{root} holds {snapshots_text(old.snapshots)} of each training, so trainings with {snapshots_text(snapshots)} "
            "cannot be added; give another folder"
        )


def _checked_plan(old: Manifest, population: str, plan: Mapping[str, Any], image_sets: Sequence[ImageSet]) -> dict[str, Any]:
    """Return the plan as JSON stores it; raises ``BuildError`` when it or the image sets do not fit what is stored."""
    check_population(population)
    plan = json.loads(json.dumps(dict(plan)))
    seed = plan.get("build_seed", "missing")
    if seed is not None and not isinstance(seed, int):
        raise BuildError(f"plan needs build_seed, an int or None for imported trainings, got {seed!r}")
    stored = old.populations[population].plan if population in old.populations else plan
    if different := plan_differences(stored, plan):
        raise BuildError(
            f"population {population} was built with other options: {'; '.join(different)}. Give those, or build into "
            "another folder"
        )
    names = [image_set.name for image_set in image_sets]
    if len(set(names)) != len(names):
        raise BuildError(f"image sets must have different names, got {', '.join(names)}")
    if tuple(image_sets[: len(old.image_sets)]) != old.image_sets:
        raise BuildError(
            f"the dataset's image sets are {old.image_sets}; these must come first and unchanged, got {tuple(image_sets)}. "
            "Build into another folder"
        )
    return dict(plan)


def _stored_seeds(root: Path, old: Manifest) -> dict[str, int]:
    """Return the seeds of the trainings that the dataset holds, by id."""
    stored: dict[str, int] = {}
    for path in old.trainings.values():
        table = read_table(root, old, path, ("training", "seed"))
        stored |= dict(zip(table["training"].to_pylist(), table["seed"].to_pylist(), strict=True))
    return stored


def _new_sources(
    old: Manifest,
    population: str,
    build_seed: int | None,
    image_sets: Sequence[ImageSet],
    sources: Sequence[Source],
    stored: Mapping[str, int],
) -> list[Source]:
    """Return the trainings that are not among ``stored``, seeds by id, in plan order; raises ``BuildError``."""
    splits = old.populations.get(population, _NOTHING).splits
    last = {name: parse_id(split.shards[-1].last)[1] for name, split in splits.items()}
    known, seen = {image_set.name for image_set in image_sets}, set()
    new: list[Source] = []
    for source in sources:
        facts, path = source.facts, source.origin
        training, seed, image_set = facts.training, facts.seed, facts.hyperparameters.dataset
        if facts.population != population:
            raise BuildError(f"{path}: {training} is not of population {population}")
        if image_set not in known:
            raise BuildError(f"{path}: image set {image_set!r} is not among {', '.join(sorted(known))}")
        if build_seed is not None and seed != training_seed(build_seed, population, facts.plan_index):
            raise BuildError(f"{path}: seed {seed} does not follow from build seed {build_seed}; stage it again")
        if training in seen:
            raise BuildError(f"{path}: {training} is staged twice; remove one")
        seen.add(training)
        if stored.get(training, seed) != seed:
            raise BuildError(f"{path}: seed {seed}, the dataset's {training} has {stored[training]}")
        if training in stored:
            continue
        if facts.plan_index <= last.get(facts.split, -1):
            raise BuildError(
                f"{training} comes before training {last[facts.split]} of split {facts.split}, which is written "
                "already, and shards are never rewritten; build into another folder"
            )
        new.append(source)
    if not new and not splits:
        raise BuildError(f"{population}: no trainings to write; stage at least one")
    return sorted(new, key=lambda source: source.facts.plan_index)


class _Run:
    """The shards and tables of one run of the writer."""

    def __init__(
        self,
        root: Path,
        old: Manifest,
        snapshots: Sequence[int],
        shard_sizes: Sequence[int],
        new: Mapping[str, Sequence[Source]],
        progress: Progress | None,
    ) -> None:
        self.root, self.old, self.snapshots, self.shard_sizes, self.new = root, old, tuple(snapshots), shard_sizes, new
        self.journal = Journal(root)
        self.tables: dict[str, pa.Table] = {}  # that were written, by path
        self.trainings: list[tuple[TrainingFacts, bool]] = []  # that were written, and whether their values are finite
        self._sha256: dict[str, str] = {}
        self._progress, self._n_done = progress, 0
        n_weights = sum(source.facts.architecture.n_weights for sources in new.values() for source in sources)
        self._n_bytes = tensor_nbytes(n_weights, len(self.snapshots))

    def manifest(self, plans: Mapping[str, dict[str, Any]], image_sets: Sequence[ImageSet]) -> Manifest:
        """Write shards and tables; return the manifest of the dataset that they describe."""
        old = self.old
        kept = {s.metadata for name, e in old.populations.items() if name not in plans for s in e.splits.values()}
        populations = old.populations | {name: self._population(name, plan) for name, plan in plans.items()}
        trainings = {}
        for split in SPLITS:
            before = old.trainings.get(split)
            rows = [training_row(facts, finite) for facts, finite in self.trainings if facts.split == split]
            if before or rows:
                trainings[split] = self._table(f"trainings/{split}-00000-of-00001", TRAINING_SCHEMA, rows, before)
        rows = [provenance_row(facts) for facts, _ in self.trainings]
        provenance = self._table("provenance/trainings", PROVENANCE_SCHEMA, rows, old.provenance)
        return Manifest(
            image_sets=tuple(image_sets),
            populations=populations,
            trainings=trainings,
            provenance=provenance,
            sha256=self._sha256 | {path: old.sha256[path] for path in kept},
            snapshots=self.snapshots,
        )

    def _population(self, name: str, plan: dict[str, Any]) -> PopulationEntry:
        """Write the new shards of a population, and its tables of old rows and new ones."""
        stored = self.old.populations.get(name, _NOTHING).splits
        vectors = [(source.facts.training, source.facts.architecture.n_weights) for source in self.new[name]]
        there = {split: len(entry.shards) for split, entry in stored.items()}
        planned = planned_shards(vectors, self.shard_sizes, there, self.snapshots)
        splits = {}
        for split in (split for split in SPLITS if split in stored or split in planned):
            left = iter([source for source in self.new[name] if source.facts.split == split])
            shards = list(stored[split].shards) if split in stored else []
            rows = [SNAPSHOT_SCHEMA.empty_table()]
            for shard in planned.get(split, ()):
                members = list(islice(left, shard.n_trainings))
                written, finite = self._shard(shard.path, name, split, members)
                shards.append(replace(shard, sha256=written.sha256))
                found = [(source.facts, is_finite) for source, is_finite in zip(members, finite, strict=True)]
                places = zip(found, written.positions.values(), strict=True)
                each = [snapshot_rows(*training, shard.path, position, self.snapshots) for training, position in places]
                rows.append(pa.Table.from_pylist([*chain(*each)], schema=SNAPSHOT_SCHEMA))  # far smaller than the rows
                self.trainings += found
            before = stored[split].metadata if split in stored else None
            path = self._table(f"{name}/{split}-00000-of-00001", SNAPSHOT_SCHEMA, pa.concat_tables(rows), before)
            splits[split] = SplitEntry(metadata=path, shards=tuple(shards))
        return PopulationEntry(plan=plan, splits=splits)

    def _shard(
        self, path: str, population: str, split: str, members: Sequence[Source]
    ) -> tuple[WrittenShard, Sequence[bool]]:
        """Write one shard, unless a killed writer completed it; return also whether each training's values are finite."""
        n_weights = {shard_key(source.facts.plan_index): source.facts.architecture.n_weights for source in members}
        if kept := self.journal.kept(path, encode_shard_header(population, split, n_weights, self.snapshots), members):
            self._advance(sum(position.nbytes for position in kept[0].positions.values()))
            return kept
        finite: list[bool] = []

        def tensors() -> Iterator[np.ndarray]:
            for weights in read_ahead(members):
                finite.append(bool(np.isfinite(weights.min()) and np.isfinite(weights.max())))  # NaN is both
                yield weights
                self._advance(weights.nbytes)

        written = write_shard(self.root / path, population, split, n_weights, tensors(), self.snapshots)
        self.journal.add(path, written, finite, members)
        return written, finite

    def _advance(self, nbytes: int) -> None:
        self._n_done += nbytes
        if self._progress:
            self._progress("weights", self._n_done, self._n_bytes)

    def _table(self, stem: str, schema: pa.Schema, rows: Sequence[Row] | pa.Table, before: str | None) -> str:
        """Write the rows of the old dataset's file ``before``, if any, and the new ones; return the path inside it."""
        table = make_table(rows, schema, read_table(self.root, self.old, before) if before else None)
        content = parquet_bytes(table)
        sha256 = sha256_of(content)
        path = f"metadata/{stem}-{sha256[:12]}.parquet"
        write_bytes(self.root / path, content)
        self.tables[path], self._sha256[path] = table, sha256
        return path


def _finish(root: Path, manifest: Manifest, tables: Mapping[str, pa.Table], card_template: str) -> None:
    """Write the descriptions of a dataset whose tables are written, checksums and manifest; remove what is replaced."""
    card = render_card(root, manifest, card_template, tables)
    days = [time[:10] for time in tables[manifest.provenance]["finished_at"].to_pylist()]
    last = max(filter(_DAY.fullmatch, days), default="")  # unknown of imported trainings
    trainings = pa.concat_tables(tables[path].select(PICTURE_COLUMNS) for path in manifest.trainings.values())
    described = {
        README: card.encode(),
        CROISSANT: croissant_json(root, manifest, card, last),
        PICTURE: draw_trainings(trainings.to_pylist(), manifest.image_sets).encode(),
    }
    for name, content in described.items():
        write_bytes(root / name, content)
    small = {name: sha256_of(content) for name, content in (described | {MANIFEST: manifest.to_bytes()}).items()}
    write_bytes(root / CHECKSUMS, checksum_lines(manifest.file_sha256 | small).encode())
    manifest.save(root)
    remove_unlisted(root, manifest)
