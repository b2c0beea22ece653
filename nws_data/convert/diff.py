"""``nws diff``: what two datasets differ in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nws_data.convert.stored import StoredDataset
from nws_data.format.manifest import MANIFEST
from nws_data.format.plan import plan_differences
from nws_data.format.shards import tensor_nbytes
from nws_data.format.untrusted import parse_json, read_file
from nws_data.progress import Progress
from nws_data.space.trajectory import snapshots_text

_MAX_NAMED = 5  # trainings in a line


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What :func:`diff` found; all empty when the datasets hold the same."""

    general: tuple[str, ...]  # format, image sets, populations, plans: a sentence each
    only_in_a: tuple[str, ...]  # ids
    only_in_b: tuple[str, ...]
    values: dict[str, tuple[str, ...]]  # id: columns of metadata/trainings that differ
    weights: tuple[str, ...]  # ids

    @property
    def equal(self) -> bool:
        """Whether nothing was found."""
        return not (self.general or self.only_in_a or self.only_in_b or self.values or self.weights)


def diff(a: str | Path, b: str | Path, *, progress: Progress | None = None) -> Difference:
    """Compare two datasets: trainings, their values and weights, plans, image sets and format.

    Not compared are provenance, README.md, and into which shards the weights are divided. Weights are read where the
    manifests give their shards different SHA-256s. Of datasets that hold other snapshots those that both hold are compared,
    and not ``finite``, which is of the snapshots that are held. Raises ``FormatError`` where a dataset is damaged, or shards
    that must be read are not here.
    """
    return compare(StoredDataset(a), StoredDataset(b), progress)


def compare(one: StoredDataset, two: StoredDataset, progress: Progress | None = None) -> Difference:
    """Do what :func:`diff` does."""
    common = [name for name in one.rows if name in two.rows]
    rows_a = {training: row for rows in one.rows.values() for training, row in rows.items()}
    rows_b = {training: row for rows in two.rows.values() for training, row in rows.items()}
    shared = [training for training in rows_a if training in rows_b]
    values, ignored = {}, () if one.manifest.snapshots == two.manifest.snapshots else ("finite",)
    for training in shared:
        row, other = rows_a[training], rows_b[training]
        if columns := tuple(name for name in row if row[name] != other[name] and name not in ignored):
            values[training] = columns
    general = _general(one, two)
    for name in common:
        plans = [data.manifest.populations[name].plan for data in (one, two)]
        general += [f"plan of {name}: {text}" for text in plan_differences(*plans)]
    return Difference(
        general=tuple(general),
        only_in_a=tuple(training for training in rows_a if training not in rows_b),
        only_in_b=tuple(training for training in rows_b if training not in rows_a),
        values=values,
        weights=tuple(_different_weights(one, two, shared, progress)),
    )


def _general(one: StoredDataset, two: StoredDataset) -> list[str]:
    found = []
    versions = [parse_json(read_file(data.root / MANIFEST))["format_version"] for data in (one, two)]
    if versions[0] != versions[1]:
        found.append(f"format version {versions[0]} and {versions[1]}")
    held = [data.manifest.snapshots for data in (one, two)]
    if held[0] != held[1]:
        found.append(f"of each training {snapshots_text(held[0])} and {snapshots_text(held[1])}")
    found += [
        f"population {name}: only in {one.root if name in one.rows else two.root}" for name in one.rows.keys() ^ two.rows
    ]
    sets = [{image_set.name: image_set for image_set in data.manifest.image_sets} for data in (one, two)]
    if list(sets[0]) != list(sets[1]):
        found.append(f"image sets {', '.join(sets[0])} and {', '.join(sets[1])}")
    changed = [name for name in sets[0] if name in sets[1] and sets[0][name] != sets[1][name]]
    found += [f"image set {name}: {sets[0][name]} and {sets[1][name]}" for name in changed]
    return found


def _different_weights(one: StoredDataset, two: StoredDataset, shared: list[str], progress: Progress | None) -> list[str]:
    """Return those trainings of both datasets whose weights differ in a bit, in the snapshots that both hold."""
    snapshots = [number for number in one.manifest.snapshots if number in two.manifest.snapshots]
    pairs = [(one.source(t, snapshots), two.source(t, snapshots)) for t in shared if snapshots]
    pairs = [(a, b) for a, b in pairs if a.shard.sha256 != b.shard.sha256]
    total = sum(tensor_nbytes(a.facts.architecture.n_weights, len(snapshots)) for a, _ in pairs)
    done, found = 0, []
    for a, b in pairs:
        # As integers: NaNs are equal when their bits are.
        same = a.facts.architecture == b.facts.architecture and np.array_equal(
            a.weights().view(np.uint32), b.weights().view(np.uint32)
        )
        if not same:
            found.append(a.facts.training)
        done += tensor_nbytes(a.facts.architecture.n_weights, len(snapshots))
        if progress:
            progress(a.facts.training, done, total)
    return found


def format_diff(found: Difference, a: Path, b: Path) -> str:
    """Return the report for people."""
    if found.equal:
        return f"{a} and {b} hold the same trainings, values and weights"
    lines = list(found.general)
    for root, ids in ((a, found.only_in_a), (b, found.only_in_b)):
        if ids:
            lines.append(f"{len(ids):,} trainings only in {root}: {_first(ids)}")
    if found.values:
        columns = sorted({column for names in found.values.values() for column in names})
        lines.append(
            f"{len(found.values):,} trainings with other values ({', '.join(columns)}): {_first(tuple(found.values))}"
        )
    if found.weights:
        lines.append(f"{len(found.weights):,} trainings with other weights: {_first(found.weights)}")
    return "\n".join(lines)


def _first(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:_MAX_NAMED]) + (", ..." if len(ids) > _MAX_NAMED else "")
