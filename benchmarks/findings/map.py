"""Accuracy of a local method over the place of its window and the progress of the training.

A method is fitted once on each task local/T, local-conv/T and local-fc/T, so on windows of the last two snapshots. It
predicts windows at 100 places of all 20 snapshots of the test trainings. Where the official task has too few trainings, its
five folds stand in for it, which test each training once; where those have too few, the same of all trainings above
``LOWER`` accuracy.
Source: Eilertsen et al. 2020, Section 5.3 and Supplement F.4, Figures 5, 20, 21.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

import nws_data
from baselines.method import Method
from baselines.registry import find_method
from benchmarks.findings.fits import predicted, test_sets
from benchmarks.findings.map_pictures import draw as draw
from benchmarks.findings.map_pictures import explore as explore
from benchmarks.findings.map_pictures import tell as tell
from benchmarks.findings.source import LOWER, MissingDataError, Source
from benchmarks.findings.tables import Tables, columns_of
from nws_data.errors import TaskNotAvailableError
from nws_data.progress import progress_bar
from nws_data.space.architecture import Part
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.tasks.metrics import clustered_accuracy, paired_difference
from nws_data.tasks.task import Task

PARTS: dict[Part, str] = {"all": "local", "conv": "local-conv", "fc": "local-fc"}
"""Families of tasks by part of the vector."""

TARGETS = ("dataset", "optimizer", "activation", "initialization")
N_POSITIONS = 100
GRID = 256
"""Starts lie on a grid of so many values, the product of the local DMC's pools: its windows then share their layers."""

REGIONS = {"first": slice(0, 10), "middle": slice(40, 60), "last": slice(90, 100), "all": slice(0, 100)}
"""Positions: the first and the last tenth, the fifth in the middle, and all."""

_TOGETHER = 4  # trainings that are predicted at once


def measure(source: Source) -> Tables:
    """Return accuracy by cell and by region, how far it falls, convolutional against other weights, and the tasks.

    Raises ``MissingDataError`` for too few trainings, or a method that reads no windows.
    """
    tasks, parts = [], []
    tables: dict[str, list[pd.DataFrame]] = {"cells": [], "regions": [], "falls": []}
    for target in _targets(source):
        found = {}
        for part in PARTS:
            ids, right, facts = _right(source, target, part)
            found[part] = (ids, right)
            keys = {"target": target, "part": part}
            tasks.append(keys | facts)
            for own, make in zip(tables.values(), (cell_table, region_table, fall_table), strict=True):
                own.append(make(right).assign(**keys))
        parts.append({"target": target} | compare(*found["conv"], *found["fc"]))
    joined = {key: pd.concat(own, ignore_index=True).round(5) for key, own in tables.items()}
    return joined | {"parts": pd.DataFrame(parts).round(5), "tasks": pd.DataFrame(tasks)}


def _targets(source: Source) -> list[str]:
    """Return the targets that are asked for; by default those of :data:`TARGETS` that have enough trainings."""
    if "windows" not in find_method(source.method).inputs:
        raise MissingDataError(f"needs a method that reads windows, {source.method} does not; nws bench methods lists them")
    source.check_snapshots()
    found, reasons = [], []
    for target in source.targets or TARGETS:
        try:
            tested(source, target, "all")
            found.append(target)
        except TaskNotAvailableError as error:
            reasons.append(f"{target} ({error.short})")
    if not found or (source.targets and reasons):
        raise MissingDataError(
            f"too few trainings for {', '.join(reasons)}, in five folds too; build more of them (nws build --population "
            "random --trainings N), or longer ones (--epoch-cap)"
        )
    return found


def tested(source: Source, target: str, part: Part) -> list[Task]:
    """Return the official task, else its five folds, else the same above ``LOWER``; raises ``TaskNotAvailableError``."""
    official = f"{PARTS[part]}/{target}"
    try:
        return test_sets(official, source.root)
    except TaskNotAvailableError:
        with suppress(TaskNotAvailableError):
            return test_sets(f"{official}/threshold={LOWER}", source.root)
        raise


def _right(source: Source, target: str, part: Part) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return ids ``(trainings,)``, which windows were told right, bool ``(trainings, snapshots, positions)``, and facts."""
    tasks = tested(source, target, part)
    bar = progress_bar(iterable=tasks, desc=f"{PARTS[part]}/{target}")
    found = [predicted(source, "map", task, _predict) for task in bar]
    ids = np.concatenate([each["ids"] for each in found])
    order = np.argsort(ids)
    spill = [nws_data.FixedWindows(task.test.data, part=part).spill_share for task in tasks]
    facts = {
        "task": f"{PARTS[part]}/{target}",
        "folds": 0 if tasks[0].spec.fold is None else len(tasks),
        "threshold": tasks[0].spec.threshold,
        "method": source.method,
        "classes": tasks[0].n_classes,
        "train_trainings": round(np.mean([sum(task.counts["train"].values()) for task in tasks])),
        "test_trainings": len(ids),
        "chance": 1 / tasks[0].n_classes,
        "spill_share": round(float(np.mean(spill)), 4),
    }
    return ids[order], np.concatenate([each["right"] for each in found])[order], facts


def _predict(method: Method, task: Task) -> dict[str, np.ndarray]:
    """Return ids and right windows of one task's test trainings."""
    data = nws_data.open(task.test.data.root, "random")
    ids = np.unique(task.test.data["training"])
    rows = np.flatnonzero(np.isin(data["training"], ids))
    rows = rows[np.lexsort((data["snapshot"][rows], data["training"][rows]))]
    names = [str(name) for name in task.classes or ()]
    right = np.empty((len(ids), N_SNAPSHOTS, N_POSITIONS), bool)
    places: dict[str, Any] = {"windows_per_vector": N_POSITIONS, "grid": GRID, "target": task.target}
    pieces = np.array_split(np.arange(len(ids)), -(-len(ids) // _TOGETHER))
    for piece in progress_bar(iterable=pieces, desc="windows"):
        own = data.take(rows.reshape(len(ids), N_SNAPSHOTS)[piece].flatten())
        view = nws_data.FixedWindows(own, task.spec.length or 0, task.spec.family.part or "all", **places)
        values = np.asarray(method.predict(view))
        labels = values.argmax(1) if values.ndim == 2 else values.astype(np.int64)
        truth = np.array([names.index(str(value)) for value in view.data[task.target]])
        right[piece] = (labels == np.repeat(truth, N_POSITIONS)).reshape(len(piece), N_SNAPSHOTS, N_POSITIONS)
    return {"ids": ids, "right": right}


def cell_table(right: np.ndarray) -> pd.DataFrame:
    """Return accuracy of each cell with its interval, over trainings; positions from 0 to 99, snapshots from 0 to 19."""
    n = len(right)
    counts = right.sum(0)
    of_count = [clustered_accuracy(np.ones(n), np.arange(n) < k) for k in range(n + 1)]
    snapshots, positions = np.indices(counts.shape).reshape(2, -1)
    rows = pd.DataFrame([of_count[k] for k in counts.flatten()], columns=["accuracy", "low", "high"])
    keys = {"snapshot": snapshots, "position": positions, "trainings": n, "right": counts.flatten()}
    return pd.concat([pd.DataFrame(keys), rows], axis=1)


def region_table(right: np.ndarray) -> pd.DataFrame:
    """Return accuracy of each region and snapshot with its interval clustered by training."""
    rows = []
    for region, places in REGIONS.items():
        for snapshot in range(N_SNAPSHOTS):
            own = right[:, snapshot, places]
            found = clustered_accuracy(np.full(len(own), own.shape[1]), own.sum(1))
            rows.append({"region": region, "snapshot": snapshot, **columns_of("accuracy", found)})
    return pd.DataFrame(rows)


def fall_table(right: np.ndarray) -> pd.DataFrame:
    """Return by how much accuracy is less than at the initialisation, and what of it lies beyond the fall in the middle.

    ``until`` is ``end``, the last snapshot, or ``mean``, the mean of all snapshots after the first, which also tells how
    early it falls. Both are differences between windows of the same trainings, with intervals clustered by training.
    """
    n, rows = np.ones(len(right)), []
    shares = {region: right[:, :, places].mean(2) for region, places in REGIONS.items()}
    for region, share in shares.items():
        for until, later in (("end", slice(-1, None)), ("mean", slice(1, None))):
            falls = {key: s[:, 0] - s[:, later].mean(1) for key, s in ((region, share), ("middle", shares["middle"]))}
            fall = paired_difference(n, falls[region], np.zeros(len(n)))
            beyond = paired_difference(n, falls[region], falls["middle"])
            found = columns_of("fall", fall) | columns_of("beyond_middle", beyond)
            rows.append({"region": region, "until": until, **found})
    return pd.DataFrame(rows)


def compare(ids: np.ndarray, right: np.ndarray, other_ids: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return accuracy at the last snapshot, over all positions, of convolutional and other weights, and their difference.

    Over the trainings that both were tested on.
    """
    both, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    n = np.full(len(both), N_POSITIONS)
    conv, fc = right[here, -1].sum(1), other[there, -1].sum(1)
    found = columns_of("conv", clustered_accuracy(n, conv)) | columns_of("fc", clustered_accuracy(n, fc))
    return {"trainings": len(both)} | found | columns_of("difference", paired_difference(n, conv, fc))
