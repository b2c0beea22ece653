"""What figures of result files share: which results belong into one picture, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.findings.source import Source
from benchmarks.leaderboard.board.standings import TRIVIAL
from benchmarks.leaderboard.files.results import Result, main_metric, mean_right
from benchmarks.leaderboard.runs.plans import recorded_options
from nws_data.plot import style
from nws_data.tasks.table import TaskSpec, parse_task

Kept = list[tuple[Result, TaskSpec]]

TRIVIAL_COLOURS = ("#9a9a9a", "#bdbdbd", "#6f6f6f")
"""Greys of methods that look at no weights."""


def same_setting(source: Source, wanted: Callable[[TaskSpec], bool]) -> tuple[Kept, str]:
    """Return the results of the tasks that are wanted, of one setting alone, and its words.

    Results of the official split, of five folds, and of other accuracy thresholds or tiers are never mixed: the setting
    that most tasks have been run in counts, of equals the official one. Single folds, shares and permuted labels do not.
    """
    groups: dict[tuple[Any, ...], Kept] = {}
    for result in source.result_files:
        spec = parse_task(result.task)
        if wanted(spec) and spec.fold is None and spec.share is None and spec.permuted is None:
            key = (result.folds > 0, spec.threshold is not None, spec.threshold or 0.0, spec.tier or "")
            groups.setdefault(key, []).append((result, spec))
    if not groups:
        return [], ""
    key = min(groups, key=lambda k: (-len({result.task for result, _ in groups[k]}), k))
    folds, has_threshold, threshold, tier = key
    words = [f"of trainings above {threshold:.0%} accuracy"] if has_threshold else []
    words += [f"of the tier {tier}"] if tier else []
    words += ["five folds, unofficial"] if folds else []
    return sorted(groups[key], key=lambda pair: str(pair[0].path)), ", ".join(words) or "official test split"


def labels_of(results: Sequence[Result], but: str = "") -> list[str]:
    """Return a name for each result's method: with those options that tell results of one method apart, but for defaults.

    The option ``but`` is not shown.
    """
    found = []
    for result in results:
        options = [other.options for other in results if other.method == result.method]
        usual = recorded_options(result.method, {}) if result.method in METHODS else {}
        values = {name: result.options.get(name, "absent") for name in sorted({name for o in options for name in o} - {but})}
        differ = {name for name in values if len({str(o.get(name)) for o in options}) > 1}
        shown = [f"{k}={v}" for k, v in values.items() if k in differ and (k not in usual or usual[k] != v)]
        found.append(f"{result.method} ({', '.join(shown)})" if shown else result.method)
    return found


def is_trivial(label: str) -> bool:
    """Whether a method looks at no weights."""
    return label.partition(" (")[0] in TRIVIAL


def in_order(labels: Sequence[str]) -> list[str]:
    """Return distinct names of methods in the registry's order, others after them, those without weights last."""
    places = {name: i for i, name in enumerate(METHODS)}

    def place(label: str) -> tuple[bool, int, str]:
        return is_trivial(label), places.get(label.partition(" (")[0], len(places)), label

    return sorted(set(labels), key=place)


def look_of(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the colour of each method's bars; beyond eight methods colours come again, hatched."""
    others, trivial = ([label for label in labels if is_trivial(label) == kind] for kind in (False, True))
    n, hatched = len(style.COLOURS), {"hatch": "///", "edgecolor": "white"}
    found = {label: {"facecolor": style.COLOURS[i % n]} | (hatched if i >= n else {}) for i, label in enumerate(others)}
    return found | {label: {"facecolor": TRIVIAL_COLOURS[i % 3]} for i, label in enumerate(trivial)}


def right_of(result: Result) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return a classification's test trainings, the items of each and how many of them were right, the mean over seeds."""
    scores = [run.score for run in result.runs]
    return scores[0].trainings, np.asarray(scores[0].n_items), mean_right(scores)


def accuracy_row(result: Result) -> dict[str, Any]:
    """Return accuracy with its interval, its deviation over seeds, and the sizes behind them."""
    metric, about = main_metric(result), {"seeds": len(result.runs), "trainings": len(result.test["trainings"])}
    found = {"accuracy": metric["mean"], "low": metric["low"], "high": metric["high"], "sd_seeds": metric["std"]}
    return found | about | {"chance": result.summary["chance"]}
