"""Which snapshots a task trains and tests on: thresholds, sides, held-out values, balance.

The side of a training is decided by its id alone; whether it takes part, by its hyper-parameters, its final accuracy
and, for balance, by the order of the ids' hashes. No random number, no file order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nws_data.errors import TaskError, TaskNotAvailableError, one_of
from nws_data.format.manifest import Manifest
from nws_data.format.tiers import FULL
from nws_data.read.dataset import NWSDataset, open_rows
from nws_data.read.selection import last_of_each
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import SIDES, fold_split_of, id_hash, split_of
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text
from nws_data.tasks.table import MIN_TRAININGS, WIDEST, TaskSpec


@dataclass(frozen=True)
class Sides:
    """A task's selection."""

    rows: Mapping[str, np.ndarray]  # int64 positions in the dataset, by side: train, validation, test
    counts: Mapping[str, Mapping[str, int]]  # trainings by side and class (or "all"), after balancing


def open_population(root: Path, spec: TaskSpec) -> NWSDataset:
    """Open all rows of a task's population; raises ``TaskNotAvailableError`` where the dataset lacks it."""
    population, present = spec.family.population, Manifest.load(root).populations
    if population not in present:
        raise TaskNotAvailableError(
            f"task {spec.name} is not available: it needs the population {population}, {root} has "
            f"{', '.join(present) or 'none'}; build it with `nws build --population {population}`",
            f"no population {population}",
        )
    return open_rows(root, population, tier=spec.tier or FULL)


def present_classes(data: NWSDataset, target: str) -> tuple[Any, ...]:
    """Return a target's values in label order; of ``dataset`` those image sets that this population has."""
    classes = data.classes(target)
    if target != "dataset":
        return classes
    found = set(np.unique(data["dataset"]).tolist())
    return tuple(name for name in classes if name in found)


def select_sides(data: NWSDataset, spec: TaskSpec) -> Sides:
    """Choose the rows of every side, of all snapshots of the task's population.

    Raises ``TaskError`` for a held-out value that the dataset lacks, ``TaskNotAvailableError`` for too few trainings, or
    snapshots that the dataset leaves out.
    """
    _check_snapshots(spec, data.manifest.snapshots)
    trainings = data.take(np.unique(data["training"], return_index=True)[1])
    ids = trainings["training"].tolist()
    sides = np.array([split_of(i) if spec.fold is None else fold_split_of(i, spec.fold) for i in ids])
    sides[~_takes_part(trainings, sides, spec)] = ""
    classes = ("all",) if spec.family.regression else present_classes(data, spec.target)
    labels = np.array(["all"] * len(ids)) if spec.family.regression else trainings[spec.target]
    hashes = np.array([id_hash(training) for training in ids])
    shares = {"train": spec.share or 1.0}
    kept = {side: _balanced(sides == side, labels, classes, hashes, shares.get(side, 1.0)) for side in SIDES}
    found = {side: _counts(sides == side, labels, classes) for side in SIDES}
    _check_available(spec, found)
    rows = {}
    for side, mask in kept.items():
        of_side = np.flatnonzero(np.isin(data["training"], trainings["training"][mask]))
        last = spec.family.last(spec.target, side)
        rows[side] = of_side[last_of_each(data["training"][of_side], data["snapshot"][of_side], last)]
    return Sides(rows, {side: _counts(mask, labels, classes) for side, mask in kept.items()})


def _check_snapshots(spec: TaskSpec, held: Sequence[int]) -> None:
    needed = SNAPSHOTS[-max(spec.family.last(spec.target, side) for side in SIDES) :]
    if not set(needed) <= set(held):
        text = f"needs {snapshots_text(needed)}"
        raise TaskNotAvailableError(
            f"task {spec.name} is not available: it {text} of each training, this dataset holds {snapshots_text(held)}; "
            "open the dataset that it is a part of",
            text,
        )


def _takes_part(trainings: NWSDataset, sides: np.ndarray, spec: TaskSpec) -> np.ndarray:
    """Return bool ``(trainings,)``: finite, above the threshold, and on the right side of a held-out value.

    Regressions have a threshold only where their name has one.
    """
    mask = trainings["finite"].copy()
    if spec.threshold is not None:
        mask &= trainings["final_test_accuracy"] > spec.threshold
    elif not spec.family.regression:
        mask &= trainings["passed"]
    column = spec.held_column
    if column is not None:
        allowed = present_classes(trainings, column)
        value = CLASSES[column][-1] if spec.held == WIDEST else spec.held
        if value not in allowed:
            if column == "dataset" and value in trainings.image_sets:
                text = f"no training on {value}"
                raise TaskNotAvailableError(f"task {spec.name} is not available: this dataset has {text}", text)
            raise TaskError(f"task {spec.name}: held value: {one_of(spec.held, allowed)}")
        mask &= (trainings[column] == value) == (sides == "test")
    return mask


def _balanced(
    mask: np.ndarray, labels: np.ndarray, classes: tuple[Any, ...], hashes: np.ndarray, share: float
) -> np.ndarray:
    """Return the mask with as many trainings of every class as the rarest has, or a share of that, rounded up: those of the
    smallest id hash."""
    of_class = [np.flatnonzero(mask & (labels == value)) for value in classes]
    n = math.ceil(round(share * min(len(members) for members in of_class), 9))  # 0.07 * 100 is above 7
    kept = np.zeros(len(mask), bool)
    for members in of_class:
        kept[members[np.argsort(hashes[members])[:n]]] = True
    return kept


def _counts(mask: np.ndarray, labels: np.ndarray, classes: tuple[Any, ...]) -> dict[str, int]:
    return {str(value): int((mask & (labels == value)).sum()) for value in classes}


def _check_available(spec: TaskSpec, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Raise ``TaskNotAvailableError`` where training or test side lack trainings; validation may be empty.

    No score depends on the validation side, and in small builds it is far smaller than the others. Of a fold's test
    side one training a class is enough: the five are scored together.
    """
    needed = {"train": MIN_TRAININGS, "test": MIN_TRAININGS if spec.fold is None else 1}
    text = "; ".join(f"{side} " + ", ".join(f"{k} {v}" for k, v in counts[side].items()) for side in ("train", "test"))
    regression = spec.family.regression
    which, rule = " of the rarest class", "trainings above the accuracy threshold"
    if regression:
        which, rule = "", "finite trainings"
    elif len(counts["train"]) < 2:
        raise TaskNotAvailableError(
            f"task {spec.name} is not available: {spec.target} has one value in this dataset ({text}); build it with more",
            f"{spec.target} has one value",
        )
    for side, n in needed.items():
        rarest, found = min(counts[side].items(), key=lambda item: item[1])
        if found < n:
            short = f"trainings, has {found}" if regression else f"a class, has {found} of {rarest}"
            raise TaskNotAvailableError(
                f"task {spec.name} is not available: it needs {needed['train']} trainings{which} in train and "
                f"{needed['test']} in test; {rule}: {text}; `nws tasks` lists what is, more trainings bring the others",
                f"{side} needs {n} {short}",
            )
