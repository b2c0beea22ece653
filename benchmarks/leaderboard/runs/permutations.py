"""Checks of methods by permutation: ``nws bench leaks`` and ``nws bench drift``.

Leaks: with training labels permuted between trainings, every method must fall to chance. One permutation may land beside
chance by luck: trainings that resemble each other get one label together, so right answers come in bunches. Over
permutations the mean accuracy of a method that learns from nothing but its training labels is chance, whatever the method,
since sides are balanced. What lies above has seen the answers.

Drift: do predictions stay when a network's hidden units are put in another order? Networks that differ by the order of
hidden channels and units compute the same function, so a method that reads what a network does, and not where its weights
happen to lie, predicts the same for all of them.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed

from baselines.registry import make_method
from benchmarks.leaderboard.runs.plans import Plan, plans_to_check
from benchmarks.leaderboard.runs.runner import in_processes
from nws_data.errors import NWSError, TaskError
from nws_data.progress import FITS, progress_bar
from nws_data.read.views import PermutedVectors
from nws_data.tasks.metrics import Interval, clustered_accuracy
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import load_task
from nws_data.terminal import align, say, say_json


def leaks(options: argparse.Namespace) -> int:
    """Check and print, by the options of ``nws bench leaks``."""
    checks = list(run_checks(options.task, options.method, options.option, options.permutations, options.data))
    say_json([asdict(check) for check in checks]) if options.json else say(format_checks(checks))
    return 0


@dataclass(frozen=True, kw_only=True)
class LeakCheck:
    """Accuracies of one method on one task with permuted labels."""

    task: str
    method: str
    chance: float
    mean: float  # over permutations
    low: float  # 95 % interval of the mean, from the spread between permutations
    high: float
    accuracies: tuple[float, ...]
    at_chance: bool  # chance lies inside the interval


def check(task: str, method: str, chance: float, accuracies: Sequence[float]) -> LeakCheck:
    """Compare the mean over permutations, at least two, with chance, by Student's t: few permutations, a wide interval."""
    from scipy.stats import t

    mean, n = float(np.mean(accuracies)), len(accuracies)
    # A method that always gives one answer is right by exactly chance: rounding must not put chance outside.
    half = float(t.ppf(0.975, n - 1)) * float(np.std(accuracies, ddof=1)) / math.sqrt(n) + 1e-12
    ends: dict[str, Any] = {"mean": mean, "low": mean - half, "high": mean + half, "at_chance": abs(mean - chance) <= half}
    return LeakCheck(task=task, method=method, chance=chance, accuracies=tuple(accuracies), **ends)


def run_checks(
    tasks: Sequence[str],
    methods: Sequence[str],
    options: Mapping[str, str],
    n_permutations: int,
    root: Path,
    workers: int = 1,
) -> Iterator[LeakCheck]:
    """Yield a check for each method on each task that it fits, fitted by so many processes.

    Raises ``NWSError`` for names, options or a dataset that make no sense, fewer than two permutations, a regression task.
    """
    if n_permutations < 2:
        raise NWSError(f"--permutations must be at least 2, or there is no interval; got {n_permutations}")
    plans = plans_to_check(tasks, methods, options, root)
    for plan in plans:  # before the first fit, which may take hours
        parse_task(_permuted(plan.task, 0))
    fits = [(plan, seed) for plan in plans for seed in range(n_permutations)]
    scores = in_processes((delayed(_run_permuted)(*fit, root) for fit in fits), workers, ordered=True)
    with progress_bar(iterable=scores, total=len(fits), bar_format=FITS) as bar:
        counted = iter(bar)
        for plan in plans:
            found = list(itertools.islice(counted, n_permutations))
            yield check(plan.task, plan.method, found[0]["chance"], [score["accuracy"] for score in found])


def _permuted(task: str, seed: int) -> str:
    return replace(parse_task(task), permuted=seed).name


def _run_permuted(plan: Plan, seed: int, root: Path) -> dict[str, Any]:
    """Return the score of a method that was fitted to labels permuted with a seed."""
    task = load_task(_permuted(plan.task, seed), root, seed=seed)
    method = make_method(plan.method, seed, **plan.given)
    method.fit(task)
    values = method.predict(task.test)
    return load_task(plan.task, root).evaluate(values).to_dict()  # a task that the method cannot have changed


def format_checks(checks: Sequence[LeakCheck]) -> str:
    """Return the table for people, in percent."""
    rows = [["task", "method", "chance", "mean", "95 % interval", "lowest", "highest", ""]]
    for c in checks:
        numbers = (c.chance, c.mean, c.low, c.high, min(c.accuracies), max(c.accuracies))
        chance, mean, low, high, lowest, highest = (f"{100 * value:.1f}" for value in numbers)
        verdict = "at chance" if c.at_chance else "above chance" if c.mean > c.chance else "below chance"
        rows.append([c.task, c.method, chance, mean, f"{low} to {high}", lowest, highest, verdict])
    n = sum(c.at_chance for c in checks)
    expected = "of 100 sound ones about 5 lie outside"
    return "\n".join([*align(rows), f"{n} of {len(checks)} have chance inside their interval; {expected}"])


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
    drifts = [_drift(plan, n, root) for plan in progress_bar(iterable=plans, bar_format=FITS)]
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


def _drift(plan: Plan, n_permutations: int, root: Path) -> Drift:
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
