"""``nws bench drift``: do predictions stay when a network's hidden units are put in another order?

Networks that differ by the order of hidden channels and units compute the same function, so a method that reads what a
network does, and not where its weights happen to lie, predicts the same for all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from baselines.registry import make_method
from benchmarks.leaderboard.runs.plans import Plan, plans_to_check
from nws_data.errors import NWSError, TaskError
from nws_data.progress import FITS, progress_bar
from nws_data.read.views import PermutedVectors
from nws_data.tasks.metrics import Interval, clustered_accuracy
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import load_task
from nws_data.terminal import align, say, say_json


def drift(options: argparse.Namespace) -> int:
    """Fit each method, with seed 0, on each task of whole vectors that it fits, and print its drift.

    Raises ``NWSError`` for names, options or a dataset that make no sense, no permutation, a task of windows or a
    regression.
    """
    n, root = options.permutations, options.data
    if n < 1:
        raise NWSError(f"--permutations must be at least 1, got {n}")
    plans = plans_to_check(options.task, options.method, options.option, root)
    for spec in (parse_task(plan.task) for plan in plans):  # before the first fit, which may take hours
        if spec.family.regression or spec.length is not None or spec.family.population != "fixed":
            wanted = "classes told from whole vectors of the population fixed: global/T, ood/T"
            raise TaskError(f"{spec.name}: drift is of {wanted}")
    drifts = [_run(plan, n, root) for plan in progress_bar(iterable=plans, bar_format=FITS)]
    say_json([asdict(drift) for drift in drifts]) if options.json else say(format_drifts(drifts))
    return 0


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One method on one task: intervals are 95 %, clustered by training."""

    task: str
    method: str
    n_trainings: int
    n_permutations: int
    accuracy: float  # on the test vectors as they are
    permuted: Interval  # on the same vectors, permuted
    changed: Interval  # share of predictions on permuted vectors that are not those on the vectors as they are


def _run(plan: Plan, n_permutations: int, root: Path) -> Drift:
    task = load_task(plan.task, root)
    method = make_method(plan.method, 0, **plan.given)
    method.fit(task)
    before = _labels(method.predict(task.test))
    truth = task.test.labels.numpy()
    views = [PermutedVectors(task.test.data, target=task.target, seed=seed) for seed in range(n_permutations)]
    after = np.stack([_labels(method.predict(view)) for view in views])
    ones = np.full(len(truth), n_permutations)  # the test side has one snapshot of each training
    return Drift(
        task=plan.task,
        method=plan.method,
        n_trainings=len(truth),
        n_permutations=n_permutations,
        accuracy=float((before == truth).mean()),
        permuted=clustered_accuracy(ones, (after == truth).sum(axis=0)),
        changed=clustered_accuracy(ones, (after != before).sum(axis=0)),
    )


def _labels(predictions: np.ndarray) -> np.ndarray:
    return predictions.argmax(axis=1) if predictions.ndim == 2 else predictions


def format_drifts(drifts: Sequence[Drift]) -> str:
    """Return the table for people, in percent."""
    rows = [["task", "method", "right", "right, permuted", "predictions that change"]]
    for d in drifts:
        intervals = [f"{100 * x.estimate:.1f} [{100 * x.low:.1f}, {100 * x.high:.1f}]" for x in (d.permuted, d.changed)]
        rows.append([d.task, d.method, f"{100 * d.accuracy:.1f}", *intervals])
    n = max(d.n_permutations for d in drifts)
    return "\n".join([*align(rows), f"in %, over {n} random orders of hidden units of each test network"])
