"""``nws bench leaks``: with training labels permuted between trainings, every method must fall to chance.

One permutation may land beside chance by luck: trainings that resemble each other get one label together, so right answers
come in bunches. Over permutations the mean accuracy of a method that learns from nothing but its training labels is
chance, whatever the method, since sides are balanced. What lies above has seen the answers.
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
from nws_data.errors import NWSError
from nws_data.progress import FITS, progress_bar
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
    with progress_bar(total=len(fits), bar_format=FITS) as bar:
        scores = in_processes((delayed(_run)(*fit, root) for fit in fits), workers, ordered=True)
        for plan in plans:
            found = []
            for score in itertools.islice(scores, n_permutations):
                found.append(score)
                bar.update()
            yield check(plan.task, plan.method, found[0]["chance"], [score["accuracy"] for score in found])


def _permuted(task: str, seed: int) -> str:
    return replace(parse_task(task), permuted=seed).name


def _run(plan: Plan, seed: int, root: Path) -> dict[str, Any]:
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
