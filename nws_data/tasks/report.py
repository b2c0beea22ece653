"""Scores and lists of tasks as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nws_data.errors import TaskError, TaskNotAvailableError
from nws_data.format.manifest import Manifest
from nws_data.read.dataset import NWSDataset
from nws_data.space.identity import SIDES
from nws_data.tasks.selection import open_population, select_sides
from nws_data.tasks.table import matching_names, official_names, parse_task
from nws_data.terminal import align

if TYPE_CHECKING:
    from nws_data.tasks.scores import Score
    from nws_data.tasks.task import Task

_WHAT_HELPS = """
Classes are read from trainings above their image set's accuracy threshold; more
trainings bring the others. Outside the official tasks, /threshold=0 behind a
name takes all trainings, and nws bench run --folds tests on all, in five folds:
nws tasks FOLDER 'global/*/threshold=0'."""


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """One task on a dataset: its size, or why there is none."""

    name: str
    available: bool
    counts: Mapping[str, Mapping[str, int]]  # trainings by side and class; empty where not available
    reason: str  # empty where available


def task_states(root: str | Path, patterns: Sequence[str] = ()) -> list[TaskState]:
    """Say of every official task whether a dataset has it.

    ``patterns`` are names with ``*``, or names of variants such as ``local/dataset@500``; by default all but ``ood``.
    Raises ``TaskError`` for a pattern that no task has, ``FormatError`` where there is no dataset.
    """
    manifest = Manifest.load(Path(root))
    opened: dict[tuple[str, str | None], NWSDataset] = {}
    states = []
    for name in _names([image_set.name for image_set in manifest.image_sets], patterns):
        spec = parse_task(name)
        try:
            key = spec.family.population, spec.tier
            if key not in opened:
                opened[key] = open_population(Path(root), spec)
            counts = select_sides(opened[key], spec).counts
            states.append(TaskState(name=name, available=True, counts=counts, reason=""))
        except TaskNotAvailableError as error:
            states.append(TaskState(name=name, available=False, counts={}, reason=error.short))
    return states


def _names(image_sets: Sequence[str], patterns: Sequence[str]) -> list[str]:
    official = list(official_names(image_sets))
    if not patterns:
        return [name for name in official if not parse_task(name).family.held]
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = matching_names(image_sets, pattern) if set("*?[") & set(pattern) else [parse_task(pattern).name]
        if not found:
            raise TaskError(f"no official task is called {pattern!r}; `nws tasks` without a pattern lists them")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def format_tasks(states: Iterable[TaskState], each: bool = True) -> str:
    """Return a table of the available tasks with the trainings of each side, then those that are not, and why.

    ``each``: a line for each task that is not available; otherwise one for each reason, with a count.
    """
    states = list(states)
    rows = [["task", "classes", *SIDES]]
    for state in (state for state in states if state.available):
        names = list(state.counts["train"])
        sizes = (f"{sum(state.counts[side].values()):,}" for side in SIDES)
        rows.append([state.name, "" if names == ["all"] else str(len(names)), *sizes])
    missing = [state for state in states if not state.available]
    lines = [*align(rows), ""] if len(rows) > 1 else []
    lines.append(f"{len(rows) - 1} of {len(states)} tasks are available, with so many trainings.")
    if len(rows) > 1:
        lines.append("nws_data.load_task(NAME, FOLDER) opens one.")
    if missing:
        counts = Counter(state.reason.partition(", has ")[0] for state in missing)
        reasons = [[state.name, state.reason] for state in missing] if each else [[f"{n:,}", r] for r, n in counts.items()]
        lines += ["", f"{len(missing)} more are not{'' if each else ' (--all lists them)'}:"]
        lines += [f"  {line}" for line in align([["", ""], *reasons])[1:]]
    if any(not (spec := parse_task(state.name)).family.regression and spec.threshold is None for state in missing):
        lines.append(_WHAT_HELPS)
    return "\n".join(lines)


def format_score(task: Task, score: Score) -> str:
    """Return a score as a short table."""
    from nws_data.tasks.scores import ClassificationScore

    items = f"{sum(score.n_items):,} predictions of {len(score.trainings):,} trainings"
    head = f"{task.name}{'' if task.official else ' (unofficial)'}, {items}, data {task.data_digest[:12]}"
    if not isinstance(score, ClassificationScore):
        return (
            f"{head}\nR²          {score.r2:8.4f}   95 % interval {score.r2_low:.4f} to {score.r2_high:.4f}\n"
            f"MAE         {score.mae:8.4g}   95 % interval {score.mae_low:.4g} to {score.mae_high:.4g}\n"
            f"Kendall tau {score.kendall_tau:8.4f}"
        )
    interval = f"95 % interval {100 * score.accuracy_low:.1f} to {100 * score.accuracy_high:.1f} %"
    letters = [chr(ord("a") + i) for i in range(len(score.classes))]
    rows = [["", "true class", "accuracy", *(f"as {letter}" for letter in letters)]]
    for letter, name, counts in zip(letters, score.classes, score.confusion, strict=True):
        share = f"{100 * score.per_class[name]:.1f} %" if name in score.per_class else "-"
        rows.append([letter, name, share, *(f"{count:,}" for count in counts)])
    accuracy = f"accuracy {100 * score.accuracy:.1f} %   {interval}   chance {100 * score.chance:.1f} %"
    return "\n".join([head, accuracy, *align(rows)])
