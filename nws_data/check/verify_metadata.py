"""Checks the metadata of a dataset against its shards and plans; a part of ``verify``.

It is checked by rebuilding it: each training's rows are computed again from its row in metadata/trainings and from the
shard headers by the functions that wrote them, its seed and hyper-parameters from the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from nws_data.errors import FormatError, NWSError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import Row, header_from_rows, read_table, snapshot_rows, training_row
from nws_data.format.records import PROVENANCE, TrainingHeader
from nws_data.format.shards import Position
from nws_data.space.hyperparameters import COLUMNS, SAMPLING, sample_many
from nws_data.space.identity import split_of, training_seed

Members = dict[str, tuple[str, Position]]
"""Of every training in a shard, by id: the shard's path and the position in it."""

MAX_PROBLEMS_PER_FILE = 5

_Problems = Iterator[str]
_Plans = Mapping[str, Mapping[str, Any]]  # population: plan
_PATH_FIELDS = ("precision", "compute_path", "generator")


class Damage(str):
    """A problem of a file's bytes: another copy of the file cures it."""


@dataclass(frozen=True)
class _Reported:
    """Trainings that cannot be compared, because what describes them is reported already."""

    shards: list[tuple[str, str, str]] = field(default_factory=list)  # split, first and last id of unreadable shards
    splits: set[str] = field(default_factory=set)  # whose metadata/trainings is unreadable
    trainings: set[str] = field(default_factory=set)  # whose row there is wrong

    def __contains__(self, training: str) -> bool:
        split = split_of(training)
        in_shard = any(split == of and first <= training <= last for of, first, last in self.shards)
        return in_shard or split in self.splits or training in self.trainings


def check_metadata(
    root: Path, manifest: Manifest, members: Members, unread: list[tuple[str, str, str]]
) -> tuple[dict[str, TrainingHeader], list[str]]:
    """Check all tables, and the trainings that they describe against shards and plans.

    ``members`` are all trainings of the shards that could be read, ``unread`` split, first and last id of the shards that
    could not. Returns the trainings that metadata/trainings describes, by id, and what is wrong.
    """
    problems: list[str] = []
    reported = _Reported(unread)
    plans = {population: entry.plan for population, entry in manifest.populations.items()}
    trainings = _trainings(root, manifest, problems, reported)
    problems += _identity_problems(manifest, plans, trainings, members, reported)
    problems += _snapshot_problems(root, manifest, trainings, members, reported)
    return trainings, problems


def _trainings(root: Path, manifest: Manifest, problems: list[str], reported: _Reported) -> dict[str, TrainingHeader]:
    """Return every training that metadata/trainings describes soundly; append what is wrong with the others."""
    trainings: dict[str, TrainingHeader] = {}
    rows = _rows(root, manifest, manifest.provenance, problems)
    provenance = None if rows is None else {row["training"]: row for row in rows}
    for split, path in manifest.trainings.items():
        found: list[str] = []
        table = _rows(root, manifest, path, problems)
        if table is None:
            reported.splits.add(split)
        for row in table or ():
            training = row["training"]
            try:  # an unreadable table gives empty values, which nothing checks
                other = dict.fromkeys(PROVENANCE, "") if provenance is None else provenance.pop(training)
                header = header_from_rows(row, other)
            except (KeyError, NWSError, TypeError) as error:
                what = f" has no single row in {manifest.provenance}" if isinstance(error, KeyError) else f": {error}"
                found.append(f"{path}: {training}{what}")
                reported.trainings.add(training)
                continue
            different = [name for name, value in training_row(header).items() if row[name] != value]
            if different or header.split != split:
                found.append(f"{path}: {training}: wrong {', '.join(different) or f'split, {header.split} by its id'}")
            trainings[training] = header
        problems += _first(found)
    left = [training for training in provenance or () if training not in reported]
    problems += _first([f"{manifest.provenance}: {training} is no training of the dataset" for training in left])
    return trainings


def _rows(root: Path, manifest: Manifest, path: str, problems: list[str]) -> list[Row] | None:
    """Return a table's rows, or None when it cannot be read, which is in ``problems`` then."""
    if not (root / path).is_file():
        return None  # reported as missing
    try:
        return list(read_table(root, manifest, path).to_pylist())
    except FormatError as error:
        problems.append(Damage(error))
        return None


def _first(found: list[str]) -> list[str]:
    """Return the first few problems of one kind and how many follow."""
    shown = list(found[:MAX_PROBLEMS_PER_FILE])
    return shown + ([f"... and {len(found) - len(shown)} more of this kind"] if len(found) > len(shown) else [])


def _identity_problems(
    manifest: Manifest, plans: _Plans, trainings: Mapping[str, TrainingHeader], members: Members, reported: _Reported
) -> list[str]:
    """Check each training against manifest and plan; it must be in metadata and shards alike."""
    lone = [training for training in members.keys() - trainings if training not in reported]
    found = [f"{training}: in {members[training][0]}, but not in metadata/trainings" for training in lone]
    lone = [training for training in trainings.keys() - members if training not in reported]
    found += [f"{training}: in metadata/trainings, but in no shard" for training in lone]
    reported.trainings.update(lone)
    names = {image_set.name for image_set in manifest.image_sets}
    for training, header in trainings.items():
        if header.population not in plans:
            found.append(f"{training}: {MANIFEST} has no population {header.population}")
            continue
        if header.hyperparameters.dataset not in names:
            found.append(f"{training}: image set {header.hyperparameters.dataset!r} is not in {MANIFEST}")
        shard, position = members.get(training, ("", None))
        n_weights = header.architecture.n_weights
        if position and position.n_weights != n_weights:
            found.append(f"{training}: {shard} holds {position.n_weights} values, its architecture {n_weights}")
    for population, plan in plans.items():
        headers = [header for header in trainings.values() if header.population == population]
        found += chain.from_iterable(_plan_problems(plan, header) for header in headers)
        found += _draw_problems(population, plan, headers)
    return _first(sorted(found))


def _plan_problems(plan: Mapping[str, Any], header: TrainingHeader) -> _Problems:
    """Compare a training with its population's plan, as far as the plan goes: imported trainings may have a shorter one."""
    values = header.hyperparameters.to_dict()
    found = {"batch_norm": values["batch_norm"]} | {name: getattr(header, name) for name in _PATH_FIELDS}
    for name, value in found.items():
        if name in plan and value != plan[name]:
            yield f"{header.training}: {name} is {value!r}, the plan says {plan[name]!r}"
    if header.n_epochs > plan.get("epoch_cap", header.n_epochs):
        yield f"{header.training}: {header.n_epochs} epochs, the plan allows {plan['epoch_cap']}"


def _draw_problems(population: str, plan: Mapping[str, Any], headers: Sequence[TrainingHeader]) -> _Problems:
    """Compare seeds and hyper-parameters with what follows from the build seed, where the plan has one."""
    build_seed = plan.get("build_seed")
    if build_seed is None:
        return
    seeds = [training_seed(build_seed, population, header.plan_index) for header in headers]
    for header, seed in zip(headers, seeds, strict=True):
        if header.seed != seed:
            yield f"{header.training}: seed {header.seed} does not follow from build seed {build_seed}"
    if plan.get("sampling") != SAMPLING or not plan.get("image_sets") or "batch_norm" not in plan:
        return
    names = [name for name, _ in plan["image_sets"]]
    compared = [name for name in COLUMNS if name != "batch_norm"]
    for header, drawn in zip(headers, sample_many(seeds, population, names, plan["batch_norm"]), strict=True):
        if different := [name for name in compared if getattr(drawn, name) != getattr(header.hyperparameters, name)]:
            yield f"{header.training}: {', '.join(different)} not as drawn from build seed {build_seed}"


def _snapshot_problems(
    root: Path, manifest: Manifest, trainings: Mapping[str, TrainingHeader], members: Members, reported: _Reported
) -> list[str]:
    """Compare metadata/<population> with the rows that trainings and shard headers give."""
    problems: list[str] = []
    for population, entry in manifest.populations.items():
        for split, stored in entry.splits.items():
            known = [h for h in trainings.values() if (h.population, h.split) == (population, split)]
            known = sorted((h for h in known if h.training in members), key=lambda h: h.plan_index)
            rows = _rows(root, manifest, stored.metadata, problems)
            if rows is None:
                continue
            places = [(row["training"], row["snapshot"]) for row in rows]
            found = dict(zip(places, rows, strict=True))
            wrong = list(
                chain.from_iterable(_row_problems(stored.metadata, h, members, found, manifest.snapshots) for h in known)
            )
            for training in sorted({training for training, _ in places} - {header.training for header in known}):
                if not (split_of(training) == split and training in reported):
                    wrong.append(f"{stored.metadata}: has rows of {training}, which is no training of {population}/{split}")
            problems += _first(wrong)
            if any(a >= b for a, b in pairwise(places)):
                problems.append(f"{stored.metadata}: rows must ascend by plan index and snapshot, each once")
    return problems


def _row_problems(
    path: str,
    header: TrainingHeader,
    members: Members,
    found: Mapping[tuple[str, int], Row],
    snapshots: Sequence[int],
) -> _Problems:
    """Yield one problem per row of a training that is wrong or missing in ``found``, by training and snapshot."""
    for right in snapshot_rows(header, *members[header.training], snapshots):
        name = f"row of {header.training}, snapshot {right['snapshot']}"
        row = found.get((header.training, right["snapshot"]))
        if row is None:
            yield f"{path}: no {name}"
        elif different := [column for column, value in right.items() if row[column] != value]:
            yield f"{path}: {name}: wrong {', '.join(different)}"
