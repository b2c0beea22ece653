"""``nws bench drift``: do predictions stay when a network's hidden units are put in another order?

Networks that differ by the order of hidden channels and units compute the same function, so a method that reads what a
network does, and not where its weights happen to lie, predicts the same for all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from baselines.registry import make_method
from benchmarks.leaderboard.runs.plans import Plan, plans_to_check
from nws_data.errors import NWSError, TaskError
from nws_data.progress import FITS, progress_bar
from nws_data.read.permuted import PermutedVectors
from nws_data.tasks.metrics import clustered_accuracy
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import load_task
from nws_data.terminal import align, say, say_json


def drift(options: argparse.Namespace) -> int:
    """Permute and print, by the options of ``nws bench drift``."""
    drifts = list(run_drifts(options.task, options.method, options.option, options.permutations, options.data))
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
    permuted: float  # on the same vectors, permuted
    permuted_low: float
    permuted_high: float
    changed: float  # share of predictions on permuted vectors that are not those on the vectors as they are
    changed_low: float
    changed_high: float


def run_drifts(
    tasks: Sequence[str], methods: Sequence[str], options: Mapping[str, str], n_permutations: int, root: Path
) -> Iterator[Drift]:
    """Yield the drift of each method on each task of whole vectors that it fits; a method is fitted once, with seed 0.

    Raises:
        NWSError: names, options or a dataset that make no sense, no permutation, a task of windows or a regression.
    """
    if n_permutations < 1:
        raise NWSError(f"--permutations must be at least 1, got {n_permutations}")
    plans = plans_to_check(tasks, methods, options, root)
    for spec in (parse_task(plan.task) for plan in plans):  # before the first fit, which may take hours
        if spec.family.regression or spec.length is not None or spec.family.population != "fixed":
            wanted = "classes told from whole vectors of the population fixed: global/T, ood/T"
            raise TaskError(f"{spec.name}: drift is of {wanted}")
    with progress_bar(total=len(plans), bar_format=FITS) as bar:
        for plan in plans:
            yield _run(plan, n_permutations, root)
            bar.update()


def _run(plan: Plan, n_permutations: int, root: Path) -> Drift:
    task = load_task(plan.task, root)
    method = make_method(plan.method, 0, **plan.given)
    method.fit(task)
    before = _labels(method.predict(task.test))
    truth = task.test.labels.numpy()
    views = [PermutedVectors(task.test.data, target=task.target, seed=seed) for seed in range(n_permutations)]
    after = np.stack([_labels(method.predict(view)) for view in views])
    ones = np.full(len(truth), n_permutations)  # the test side has one snapshot of each training
    permuted = clustered_accuracy(ones, (after == truth).sum(axis=0))
    changed = clustered_accuracy(ones, (after != before).sum(axis=0))
    return Drift(
        task=plan.task,
        method=plan.method,
        n_trainings=len(truth),
        n_permutations=n_permutations,
        accuracy=float((before == truth).mean()),
        permuted=permuted.estimate,
        permuted_low=permuted.low,
        permuted_high=permuted.high,
        changed=changed.estimate,
        changed_low=changed.low,
        changed_high=changed.high,
    )


def _labels(predictions: np.ndarray) -> np.ndarray:
    return predictions.argmax(axis=1) if predictions.ndim == 2 else predictions


def format_drifts(drifts: Sequence[Drift]) -> str:
    """Return the table for people, in percent."""
    rows = [["task", "method", "right", "right, permuted", "predictions that change"]]
    for d in drifts:
        permuted = f"{100 * d.permuted:.1f} [{100 * d.permuted_low:.1f}, {100 * d.permuted_high:.1f}]"
        changed = f"{100 * d.changed:.1f} [{100 * d.changed_low:.1f}, {100 * d.changed_high:.1f}]"
        rows.append([d.task, d.method, f"{100 * d.accuracy:.1f}", permuted, changed])
    n = max(d.n_permutations for d in drifts)
    return "\n".join([*align(rows), f"in %, over {n} random orders of hidden units of each test network"])
