"""Checks the metadata of a dataset against its shards and plans; a part of ``verify``.

It is checked by rebuilding it: each training's rows are computed again from its row in metadata/trainings and from the
shard headers by the functions that wrote them, its seed and hyper-parameters from the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from nws_data.errors import FormatError, NWSError
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import Row, facts_from_rows, read_table, snapshot_rows, training_row
from nws_data.format.records import PROVENANCE, TrainingFacts
from nws_data.format.shards import Position
from nws_data.space.hyperparameters import COLUMNS, SAMPLING, sample_many
from nws_data.space.identity import split_of, training_seed

Members = dict[str, tuple[str, Position]]
"""Of every training in a shard, by id: the shard's path and the position in it."""

MAX_PROBLEMS_PER_FILE = 5

_Problems = Iterator[str]
_PATH_FIELDS = ("precision", "compute_path", "generator")


class Damage(str):
    """A problem of a file's bytes: another copy of the file cures it."""


class MetadataCheck:
    """Checks all tables, and the trainings that they describe against shards and plans.

    ``members`` are all trainings of the shards that could be read, ``unread`` split, first and last id of the others. Then
    ``problems`` says what is wrong, ``finite`` what metadata/trainings says of each training, by id.
    """

    def __init__(self, root: Path, manifest: Manifest, members: Members, unread: Sequence[tuple[str, str, str]]) -> None:
        self._root, self._manifest, self._members, self._unread = root, manifest, members, unread
        self._trainings: dict[str, TrainingFacts] = {}  # that metadata/trainings describes soundly, by id
        # What cannot be compared, because what describes it is reported already:
        self._unknown_splits: set[str] = set()  # whose metadata/trainings is unreadable
        self._reported: set[str] = set()  # trainings whose row there is wrong
        self.finite: dict[str, bool] = {}
        self.problems: list[str] = []
        self._check_trainings()
        self._check_identities()
        for population, entry in manifest.populations.items():
            for split, stored in entry.splits.items():
                self._check_snapshots(population, split, stored.metadata)

    def _is_reported(self, training: str) -> bool:
        split = split_of(training)
        in_shard = any(split == of and first <= training <= last for of, first, last in self._unread)
        return in_shard or split in self._unknown_splits or training in self._reported

    def _check_trainings(self) -> None:
        """Read every training that metadata/trainings describes soundly, and report the others."""
        rows = self._rows(self._manifest.provenance)
        provenance = None if rows is None else {row["training"]: row for row in rows}
        for split, path in self._manifest.trainings.items():
            found: list[str] = []
            table = self._rows(path)
            if table is None:
                self._unknown_splits.add(split)
            for row in table or ():
                training = row["training"]
                try:  # an unreadable table gives empty values, which nothing checks
                    other = dict.fromkeys(PROVENANCE, "") if provenance is None else provenance.pop(training)
                    facts = facts_from_rows(row, other)
                except (KeyError, NWSError, TypeError) as error:
                    lone = f" has no single row in {self._manifest.provenance}"
                    found.append(f"{path}: {training}{lone if isinstance(error, KeyError) else f': {error}'}")
                    self._reported.add(training)
                    continue
                different = [name for name, value in training_row(facts, row["finite"]).items() if row[name] != value]
                if different or facts.split != split:
                    found.append(f"{path}: {training}: wrong {', '.join(different) or f'split, {facts.split} by its id'}")
                self._trainings[training], self.finite[training] = facts, row["finite"]
            self.problems += _first(found)
        left = [training for training in provenance or () if not self._is_reported(training)]
        self.problems += _first([f"{self._manifest.provenance}: {t} is no training of the dataset" for t in left])

    def _rows(self, path: str) -> list[Row] | None:
        """Return a table's rows, or None when it cannot be read, which is reported then."""
        if not (self._root / path).is_file():
            return None  # reported as missing
        try:
            return list(read_table(self._root, self._manifest, path).to_pylist())
        except FormatError as error:
            self.problems.append(Damage(error))
            return None

    def _check_identities(self) -> None:
        """Check each training against manifest and plan; it must be in metadata and shards alike."""
        trainings, members, populations = self._trainings, self._members, self._manifest.populations
        lone = [training for training in members.keys() - trainings if not self._is_reported(training)]
        found = [f"{training}: in {members[training][0]}, but not in metadata/trainings" for training in lone]
        lone = [training for training in trainings.keys() - members if not self._is_reported(training)]
        found += [f"{training}: in metadata/trainings, but in no shard" for training in lone]
        self._reported.update(lone)
        names = {image_set.name for image_set in self._manifest.image_sets}
        for training, facts in trainings.items():
            if facts.population not in populations:
                found.append(f"{training}: {MANIFEST} has no population {facts.population}")
                continue
            if facts.hyperparameters.dataset not in names:
                found.append(f"{training}: image set {facts.hyperparameters.dataset!r} is not in {MANIFEST}")
            shard, position = members.get(training, ("", None))
            n_weights = facts.architecture.n_weights
            if position and position.n_weights != n_weights:
                found.append(f"{training}: {shard} holds {position.n_weights} values, its architecture {n_weights}")
        for population, entry in populations.items():
            of_population = [facts for facts in trainings.values() if facts.population == population]
            found += chain.from_iterable(_plan_problems(entry.plan, facts) for facts in of_population)
            found += _draw_problems(population, entry.plan, of_population)
        self.problems += _first(sorted(found))

    def _check_snapshots(self, population: str, split: str, path: str) -> None:
        """Compare a table of metadata/<population> with the rows that trainings and shard headers give."""
        rows = self._rows(path)
        if rows is None:
            return
        found = {(row["training"], row["snapshot"]): row for row in rows}
        known = {
            training: facts
            for training, facts in self._trainings.items()
            if (facts.population, facts.split) == (population, split) and training in self._members
        }
        wrong = []
        for training, facts in sorted(known.items()):
            place = self._members[training]
            for right in snapshot_rows(facts, self.finite[training], *place, self._manifest.snapshots):
                name = f"row of {training}, snapshot {right['snapshot']}"
                row = found.get((training, right["snapshot"]))
                if row is None:
                    wrong.append(f"{path}: no {name}")
                elif different := [column for column, value in right.items() if row[column] != value]:
                    wrong.append(f"{path}: {name}: wrong {', '.join(different)}")
        for training in sorted({training for training, _ in found} - known.keys()):
            if not (split_of(training) == split and self._is_reported(training)):
                wrong.append(f"{path}: has rows of {training}, which is no training of {population}/{split}")
        self.problems += _first(wrong)
        places = [(row["training"], row["snapshot"]) for row in rows]
        if any(a >= b for a, b in pairwise(places)):
            self.problems.append(f"{path}: rows must ascend by plan index and snapshot, each once")


def _first(found: list[str]) -> list[str]:
    """Return the first few problems of one kind and how many follow."""
    shown = list(found[:MAX_PROBLEMS_PER_FILE])
    return shown + ([f"... and {len(found) - len(shown)} more of this kind"] if len(found) > len(shown) else [])


def _plan_problems(plan: Mapping[str, Any], facts: TrainingFacts) -> _Problems:
    """Compare a training with its population's plan, as far as the plan goes: imported trainings may have a shorter one."""
    values = facts.hyperparameters.to_dict()
    found = {"batch_norm": values["batch_norm"]} | {name: getattr(facts, name) for name in _PATH_FIELDS}
    for name, value in found.items():
        if name in plan and value != plan[name]:
            yield f"{facts.training}: {name} is {value!r}, the plan says {plan[name]!r}"
    if facts.n_epochs > plan.get("epoch_cap", facts.n_epochs):
        yield f"{facts.training}: {facts.n_epochs} epochs, the plan allows {plan['epoch_cap']}"


def _draw_problems(population: str, plan: Mapping[str, Any], trainings: Sequence[TrainingFacts]) -> _Problems:
    """Compare seeds and hyper-parameters with what follows from the build seed, where the plan has one."""
    build_seed = plan.get("build_seed")
    if build_seed is None:
        return
    seeds = [training_seed(build_seed, population, facts.plan_index) for facts in trainings]
    for facts, seed in zip(trainings, seeds, strict=True):
        if facts.seed != seed:
            yield f"{facts.training}: seed {facts.seed} does not follow from build seed {build_seed}"
    if plan.get("sampling") != SAMPLING or not plan.get("image_sets") or "batch_norm" not in plan:
        return
    names = [name for name, _ in plan["image_sets"]]
    compared = [name for name in COLUMNS if name != "batch_norm"]
    for facts, drawn in zip(trainings, sample_many(seeds, population, names, plan["batch_norm"]), strict=True):
        if different := [name for name in compared if getattr(drawn, name) != getattr(facts.hyperparameters, name)]:
            yield f"{facts.training}: {', '.join(different)} not as drawn from build seed {build_seed}"
