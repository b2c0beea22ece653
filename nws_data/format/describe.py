"""What a dataset holds, in numbers: for people (``format_info``) and for programs (``DatasetInfo.to_dict``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from nws_data.errors import FormatError
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import TRAINING_SCHEMA, read_table
from nws_data.format.partial import Presence, presence, restricted
from nws_data.format.tiers import FULL, tier_name
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import SPLITS, parse_id
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import N_SNAPSHOTS, SNAPSHOTS, snapshots_text
from nws_data.terminal import align, plain

_COLUMNS = tuple(field.name for field in TRAINING_SCHEMA if not pa.types.is_list(field.type))
_PLAN_NAMES = {
    "build_seed": "build seed",
    "epoch_cap": "epoch cap",
    "precision": "precision",
    "batch_norm": "batch norm",
    "compute_path": "path",
    "evaluation": "accuracies",
    "unlisted_from": "in no list from index",
}
_IMAGE_SETS = ["image set", "trainings", "threshold %", "passing", "passing %", "min %", "median %", "max %"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Smallest, middle and largest of some numbers."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split of a population."""

    n_trainings: int
    n_snapshots: int
    n_shards: int
    n_bytes: int  # of the shard files
    n_passing: int  # trainings that passed their image set's threshold


@dataclass(frozen=True, kw_only=True)
class ImageSetInfo:
    """The trainings of one image set in a population."""

    threshold: float
    n_trainings: int
    n_passing: int
    final_test_accuracy: Spread | None  # None without trainings


@dataclass(frozen=True, kw_only=True)
class PopulationInfo:
    """One population."""

    plan: dict[str, Any]  # everything that decides what a training is, as manifest.json has it
    digest: str  # which data these are, see Manifest.population_digest
    n_trainings: int
    here: Presence  # what of it is in this folder
    n_non_finite: int
    splits: dict[str, SplitInfo]
    image_sets: dict[str, ImageSetInfo]
    stop_reasons: dict[str, int]
    n_epochs: Spread
    n_weights: Spread
    learning_rate: Spread
    hyperparameters: dict[str, dict[str, int]]  # name: value as text: trainings


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A whole dataset."""

    data_digest: str  # of the whole dataset, as all digests here
    tier: str | None  # the tier that the counts are of; None: the whole dataset
    n_trainings: int
    n_snapshots: int
    snapshots: tuple[int, ...]  # numbers of those that the dataset holds of each training
    n_bytes: int  # of the shard files
    image_sets: tuple[ImageSet, ...]
    populations: dict[str, PopulationInfo]

    def __repr__(self) -> str:
        counts = ", ".join(f"{population.n_trainings:,} {name}" for name, population in self.populations.items())
        tier = "" if self.tier is None else f"tier {self.tier}, "
        return f"DatasetInfo({tier}{counts} trainings, {self.n_bytes / 1e6:,.1f} MB, data {self.data_digest[:12]})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self)


def describe(
    root: str | Path,
    manifest: Manifest | None = None,
    *,
    tier: str | None = None,
    tables: Mapping[str, pa.Table] = MappingProxyType({}),
) -> DatasetInfo:
    """Count what a dataset holds, or a tier of it, from its manifest and metadata/trainings; weights are not read.

    ``tables`` are those of metadata/trainings that are at hand, by path; others are read.

    Raises ``FormatError`` when the folder is not a dataset or its metadata is damaged, ``SelectionError`` for a tier that
    is not a size.
    """
    root = Path(root)
    whole = manifest or Manifest.load(root)
    manifest = whole if tier is None else restricted(whole, tier)
    table = pa.concat_tables(
        tables[path].select(_COLUMNS) if path in tables else read_table(root, whole, path, _COLUMNS)
        for path in manifest.trainings.values()
    )
    columns = {name: np.asarray(table[name].to_pylist()) for name in _COLUMNS}
    populations = {}
    for name in sorted(manifest.populations):
        # A tier holds each split up to some plan index.
        last = {split: parse_id(entry.shards[-1].last)[1] for split, entry in manifest.populations[name].splits.items()}
        limit = np.array([last.get(split, -1) for split in columns["split"].tolist()])
        rows = (columns["population"] == name) & (columns["plan_index"] <= limit)
        digest = whole.population_digest(name)
        here = presence(root, {split: entry.shards for split, entry in whole.populations[name].splits.items()})
        populations[name] = _population_info({k: v[rows] for k, v in columns.items()}, manifest, name, digest, here)
    n_trainings = sum(population.n_trainings for population in populations.values())
    return DatasetInfo(
        data_digest=whole.data_digest,
        tier=None if tier is None else tier_name(tier),
        n_trainings=n_trainings,
        n_snapshots=len(manifest.snapshots) * n_trainings,
        snapshots=manifest.snapshots,
        n_bytes=sum(shard.nbytes for shard in manifest.shards),
        image_sets=manifest.image_sets,
        populations=populations,
    )


def _population_info(
    columns: Mapping[str, np.ndarray], manifest: Manifest, name: str, digest: str, here: Presence
) -> PopulationInfo:
    image_sets = {image_set.name: image_set for image_set in manifest.image_sets}
    unknown = sorted(set(columns["dataset"].tolist()) - set(image_sets))
    if unknown:
        raise FormatError(f"manifest.json has no image set {', '.join(unknown)}, metadata/trainings has; run nws verify")
    pairs = zip(columns["dataset"], columns["final_test_accuracy"], strict=True)
    passing = np.array([image_sets[dataset].passes(accuracy) for dataset, accuracy in pairs], dtype=bool)
    splits = manifest.populations[name].splits
    return PopulationInfo(
        plan=manifest.populations[name].plan,
        digest=digest,
        n_trainings=len(passing),
        here=here,
        n_non_finite=int(np.sum(~columns["finite"])),
        splits={
            split: SplitInfo(
                n_trainings=entry.n_trainings,
                n_snapshots=len(manifest.snapshots) * entry.n_trainings,
                n_shards=len(entry.shards),
                n_bytes=sum(shard.nbytes for shard in entry.shards),
                n_passing=int(passing[columns["split"] == split].sum()),
            )
            for split, entry in splits.items()
        },
        image_sets={
            key: ImageSetInfo(
                threshold=image_set.threshold,
                n_trainings=int(rows.sum()),
                n_passing=int(passing[rows].sum()),
                final_test_accuracy=_spread(columns["final_test_accuracy"][rows]) if rows.any() else None,
            )
            for key, image_set in image_sets.items()
            for rows in (columns["dataset"] == key,)
        },
        stop_reasons=_counts(columns["stop_reason"]),
        n_epochs=_spread(columns["n_epochs"]),
        n_weights=_spread(columns["n_weights"]),
        learning_rate=_spread(columns["learning_rate"]),
        hyperparameters={key: _counts(columns[key]) for key in (*CLASSES, "batch_norm")},
    )


def _spread(values: np.ndarray) -> Spread:
    return Spread(low=float(values.min()), median=float(np.median(values)), high=float(values.max()))


def _counts(values: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(value): int(count) for value, count in zip(found.tolist(), counts, strict=True)}


def format_info(info: DatasetInfo) -> str:
    """Return the report for people: short aligned tables."""
    tier = "" if info.tier is None else f"tier {info.tier}: "
    lines = [
        f"{tier}{info.n_trainings:,} trainings, {info.n_snapshots:,} snapshots, {info.n_bytes / 1e6:,.1f} MB of weights",
        f"data digest {info.data_digest}",
    ]
    if info.snapshots != SNAPSHOTS:
        lines.insert(1, f"of the {N_SNAPSHOTS} snapshots of each training: {snapshots_text(info.snapshots)}")
    for name, population in info.populations.items():
        accuracies = [_IMAGE_SETS, *image_set_rows(population)[1:]]
        lines += ["", f"{name}: {population.n_trainings:,} trainings, {population.n_non_finite:,} non-finite"]
        lines += [f"plan: {plain(plan_text(population.plan))}", f"digest {population.digest}"]
        if FULL not in (here := population.here).tiers:
            tiers = f"all of tier {', '.join(here.tiers)}" if here.tiers else "no named tier is complete"
            size = f"{here.n_trainings:,} trainings in {here.n_shards:,} shards, {here.n_bytes / 1e6:,.1f} MB"
            lines.append(f"here: {size}; {tiers}")
        values = [[key, range_text(getattr(population, key))] for key in ("learning_rate", "n_epochs", "n_weights")]
        for key, counts in ({"stop_reason": population.stop_reasons} | population.hyperparameters).items():
            values.append([key, ", ".join(f"{value}: {n:,}" for value, n in counts.items())])
        lines += ["", *align(split_rows(population)), "", *align(accuracies), "", *align(values)]
    return "\n".join(lines)


def split_rows(population: PopulationInfo) -> list[list[str]]:
    """Return a table, header first: trainings, snapshots, passing trainings and size of each split."""
    rows = [["split", "trainings", "snapshots", "passing", "shards", "MB"]]
    for name in SPLITS:
        if name in population.splits:
            s = population.splits[name]
            counts = (s.n_trainings, s.n_snapshots, s.n_passing, s.n_shards)
            rows.append([name, *(f"{n:,}" for n in counts), f"{s.n_bytes / 1e6:,.1f}"])
    return rows


def image_set_rows(population: PopulationInfo) -> list[list[str]]:
    """Return a table, header first: final test accuracies in percent and passing trainings of each image set."""
    rows = [["image set", "trainings", "threshold %", "passing", "passing %", "lowest %", "median %", "highest %"]]
    for name, s in population.image_sets.items():
        accuracy = s.final_test_accuracy
        if accuracy is None:
            continue
        spread = (accuracy.low, accuracy.median, accuracy.high)
        share = f"{100 * s.n_passing / s.n_trainings:.1f}"
        counts = [f"{s.n_trainings:,}", f"{100 * s.threshold:.0f}", f"{s.n_passing:,}", share]
        rows.append([name, *counts, *(f"{100 * value:.1f}" for value in spread)])
    return rows


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return what a population was built with, in words: ``build seed 0, epoch cap 40, ...``; absent keys are left out."""
    words = {True: "on", False: "off", None: "none (imported trainings)"}
    found = [(name, plan[key]) for key, name in _PLAN_NAMES.items() if key in plan]
    named = [(name, words[v] if isinstance(v, bool | None) else v) for name, v in found]
    return ", ".join(f"{name} {value}" for name, value in named)


def range_text(spread: Spread, median: bool = True) -> str:
    """Return ``21,260 to 92,868, median 50,000``, or the one number where all are equal."""
    if spread.low == spread.high:
        return _number_text(spread.low)
    text = f"{_number_text(spread.low)} to {_number_text(spread.high)}"
    return f"{text}, median {_number_text(spread.median)}" if median else text


def _number_text(value: float) -> str:
    """Return a number with thousands separators, and with digits after the point only where it needs them."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
