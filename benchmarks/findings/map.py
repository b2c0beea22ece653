"""Accuracy of a local method over the place of its window and the progress of the training.

A method is fitted once on each task local/T, local-conv/T and local-fc/T, so on windows of the last two snapshots. It
predicts windows at 100 places of all 20 snapshots of the test trainings. Where the official task has too few trainings, its
five folds stand in for it, which test each training once; where those have too few, the same of all trainings above
``LOWER`` accuracy.
Source: Eilertsen et al. 2020, Section 5.3 and Supplement F.4, Figures 5, 20, 21.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import nws_data
from benchmarks.findings.map_pictures import draw as draw
from benchmarks.findings.map_pictures import explore as explore
from benchmarks.findings.map_pictures import tell as tell
from benchmarks.findings.source import LOWER, MissingDataError, Source
from nws_data.atomic import atomic_file
from nws_data.errors import TaskNotAvailableError
from nws_data.space.architecture import Part
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.tasks.metrics import Interval, clustered_accuracy, paired_difference

if TYPE_CHECKING:
    from nws_data.tasks.task import Task

PARTS: dict[Part, str] = {"all": "local", "conv": "local-conv", "fc": "local-fc"}
"""Families of tasks by part of the vector."""

TARGETS = ("dataset", "optimizer", "activation", "initialization")
N_POSITIONS = 100
GRID = 256
"""Starts lie on a grid of so many values, the product of the local DMC's pools: its windows then share their layers."""

REGIONS = {"first": slice(0, 10), "middle": slice(40, 60), "last": slice(90, 100), "all": slice(0, 100)}
"""Positions: the first and the last tenth, the fifth in the middle, and all."""

_VERSION = 1  # of the kept files
_TOGETHER = 4  # trainings that are predicted at once


def measure(source: Source) -> dict[str, pd.DataFrame]:
    """Return accuracy by cell and by region, how far it falls, convolutional against other weights, and the tasks.

    Raises:
        MissingDataError: too few trainings, or a method that reads no windows.
    """
    cells, tasks, regions, falls, parts = [], [], [], [], []
    for target in _targets(source):
        found = {}
        for part in PARTS:
            ids, right, facts = _right(source, target, part)
            found[part] = (ids, right)
            keys = {"target": target, "part": part}
            tasks.append(keys | facts)
            cells.append(cell_table(right).assign(**keys))
            regions.append(region_table(right).assign(**keys))
            falls.append(fall_table(right).assign(**keys))
        parts.append({"target": target} | compare(*found["conv"], *found["fc"]))
    tables = {"cells": cells, "regions": regions, "falls": falls}
    joined = {key: pd.concat(rows, ignore_index=True).round(5) for key, rows in tables.items()}
    return joined | {"parts": pd.DataFrame(parts).round(5), "tasks": pd.DataFrame(tasks)}


def _targets(source: Source) -> list[str]:
    """Return the targets that are asked for; by default those of :data:`TARGETS` that have enough trainings."""
    from baselines.registry import find_method

    if "windows" not in find_method(source.method).inputs:
        raise MissingDataError(f"needs a method that reads windows, {source.method} does not; nws bench methods lists them")
    source.population(("random",))
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
    """Return the official task, else those of its five folds that have enough trainings, else the same above ``LOWER``.

    Raises ``TaskNotAvailableError``.
    """
    official = f"{PARTS[part]}/{target}"
    first: TaskNotAvailableError | None = None
    for name in (official, f"{official}/threshold={LOWER}"):
        for names in ([name], [f"{name}/fold={fold}" for fold in range(5)]):
            tasks = []
            for each in names:
                try:
                    tasks.append(nws_data.load_task(each, source.root))
                except TaskNotAvailableError as error:
                    first = first or error
            if tasks:
                return tasks
    assert first is not None
    raise first


def _right(source: Source, target: str, part: Part) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return ids ``(trainings,)``, which windows were told right, bool ``(trainings, snapshots, positions)``, and facts."""
    tasks = tested(source, target, part)
    results = [_predicted(source, task) for task in source.progress(tasks, f"{PARTS[part]}/{target}")]
    ids = np.concatenate([ids for ids, _ in results])
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
    return ids[order], np.concatenate([right for _, right in results])[order], facts


def _predicted(source: Source, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and right windows of one task's test trainings, from the kept file where there is one."""
    if source.kept is None:
        with TemporaryDirectory() as folder:
            return _fit_and_predict(source, task, Path(folder))
    stem, key = _key(source, task)
    path = source.kept / f"map-{stem}-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["ids"], kept["right"]
    except (OSError, ValueError, KeyError):
        pass
    checkpoints = source.kept / f"map-{stem}-{key}-fit"
    ids, right = _fit_and_predict(source, task, source.checkpoints or checkpoints)
    with atomic_file(path) as stream:
        np.savez_compressed(stream, ids=ids, right=right)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return ids, right


def _key(source: Source, task: Task) -> tuple[str, str]:
    """Return what task and method are called in names of files, and a digest of all that decides the prediction."""
    from baselines.registry import resolve_options
    from benchmarks.leaderboard.files.results import safe_name
    from benchmarks.leaderboard.runs.environment import commit
    from benchmarks.leaderboard.runs.plans import method_label, source_file
    from nws_data.hashing import file_sha256, sha256_of

    file = source_file(source.method)
    decides = {
        "version": _VERSION,
        "data": task.data_digest,
        "task": task.name,
        "method": source.method,
        "options": {key: str(value) for key, value in resolve_options(source.method, {}).items()},
        "code": [commit(), file_sha256(file) if file else None],
        "windows": [N_POSITIONS, GRID],
    }
    digest = sha256_of(json.dumps(decides, sort_keys=True).encode())[:12]
    return safe_name(f"{task.name}-{method_label(source.method)}"), digest


def _fit_and_predict(source: Source, task: Task, checkpoints: Path) -> tuple[np.ndarray, np.ndarray]:
    from baselines.registry import make_method, options_of

    given: dict[str, Any] = {"folder": checkpoints} if "folder" in options_of(source.method) else {}
    method = make_method(source.method, **given)
    method.fit(task)
    data = nws_data.open(source.root, "random")
    ids = np.unique(task.test.data["training"])
    rows = np.flatnonzero(np.isin(data["training"], ids))
    rows = rows[np.lexsort((data["snapshot"][rows], data["training"][rows]))]
    names = [str(name) for name in task.classes or ()]
    right = np.empty((len(ids), N_SNAPSHOTS, N_POSITIONS), bool)
    pieces = np.array_split(np.arange(len(ids)), -(-len(ids) // _TOGETHER))
    for piece in source.progress(pieces, "windows"):
        view = windows(data.take(rows.reshape(len(ids), N_SNAPSHOTS)[piece].flatten()), task)
        values = np.asarray(method.predict(view))
        labels = values.argmax(1) if values.ndim == 2 else values.astype(np.int64)
        truth = np.array([names.index(str(value)) for value in view.data[task.target]])
        right[piece] = (labels == np.repeat(truth, N_POSITIONS)).reshape(len(piece), N_SNAPSHOTS, N_POSITIONS)
    return ids, right


def windows(data: nws_data.NWSDataset, task: Task) -> nws_data.FixedWindows:
    """Return windows of a task's length and part at all positions of every snapshot."""
    assert task.spec.length is not None and task.spec.family.part is not None
    return nws_data.FixedWindows(
        data, task.spec.length, task.spec.family.part, windows_per_vector=N_POSITIONS, grid=GRID, target=task.target
    )


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
            rows.append({"region": region, "snapshot": snapshot, **_columns("accuracy", found)})
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
            found = _columns("fall", fall) | _columns("beyond_middle", beyond)
            rows.append({"region": region, "until": until, **found})
    return pd.DataFrame(rows)


def compare(ids: np.ndarray, right: np.ndarray, other_ids: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return accuracy at the last snapshot, over all positions, of convolutional and other weights, and their difference.

    Over the trainings that both were tested on.
    """
    both, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    n = np.full(len(both), N_POSITIONS)
    conv, fc = right[here, -1].sum(1), other[there, -1].sum(1)
    found = _columns("conv", clustered_accuracy(n, conv)) | _columns("fc", clustered_accuracy(n, fc))
    return {"trainings": len(both)} | found | _columns("difference", paired_difference(n, conv, fc))


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
