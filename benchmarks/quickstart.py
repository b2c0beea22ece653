"""``nws quickstart``: from nothing to a dataset that is built, loaded, and shows what weights tell."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import nws_data
from benchmarks.findings.statistics import draw_pair, format_pair_table, pair_table, resample
from benchmarks.leaderboard.board.write import HTML, write_board
from benchmarks.leaderboard.runs.plans import make_plans
from benchmarks.leaderboard.runs.runner import run_all
from builders.build import build
from builders.config import PRESETS, BuildConfig
from nws_data.format.manifest import Manifest
from nws_data.progress import FITS, progress_bar
from nws_data.tasks.scores import ClassificationScore
from nws_data.tasks.table import TaskSpec, parse_task
from nws_data.terminal import align, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TASKS = {
    "global/initialization/threshold=0": "boosting-480",
    "global/activation/threshold=0": "boosting-480",
    "local/initialization/threshold=0": "boosting-16",
}
"""Tasks that a build of this size has enough trainings for, in five folds, and the method that reads the weights."""

TRIVIAL = "hyperparameters"
"""Beside each: what all other hyper-parameters tell, without a weight."""

HEADER = ["which", "from", "nets", "right % [95 %]", "no weights %", "chance %"]
"""Of the table of readings."""


_PAIR = ("initialization", "activation")
_COLOURS = {"constant": "#cc79a7", "random_normal": "#e69f00", "glorot_uniform": "#009e73", "glorot_normal": "#0072b2"}
_LEGEND_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "frameon": False}


@dataclass(frozen=True)
class Reading:
    """How well a hyper-parameter is told for networks that a method was not fitted on."""

    task: TaskSpec
    weights: ClassificationScore
    others: ClassificationScore  # from the other hyper-parameters

    @property
    def source(self) -> str:
        """What of the weights is read."""
        return "all weights" if self.task.length is None else f"{self.task.length:,} weights"

    def row(self) -> list[str]:
        """Return the cells of the table."""
        score, n = self.weights, len(self.weights.trainings)
        interval = f"{_percent(score.accuracy)} [{_percent(score.accuracy_low)}, {_percent(score.accuracy_high)}]"
        return [self.task.target, self.source, f"{n}", interval, _percent(self.others.accuracy), _percent(score.chance)]

    def words(self) -> str:
        """Return what the numbers say."""
        score = self.weights
        right, n, nets = sum(score.n_right), sum(score.n_items), len(score.trainings)
        of = f"{n} networks" if n == nets else f"{n} windows of {nets} networks"
        if score.accuracy_low <= score.chance:
            verdict = "not clearly above chance"
        elif score.accuracy_low <= self.others.accuracy:
            verdict = "above chance, but not clearly above the other hyper-parameters"
        else:
            verdict = "so the weights tell it"
        interval = f"{_percent(score.accuracy_low)} to {_percent(score.accuracy_high)}"
        return (
            f"{self.source.capitalize()} give the {self.task.target} of {right} of {of}: {_percent(score.accuracy)} % (95 % "
            f"interval {interval}; guessing {_percent(score.chance)}, other hyper-parameters "
            f"{_percent(self.others.accuracy)}): {verdict}."
        )


def quickstart(options: argparse.Namespace) -> int:
    """Build the preset ``quickstart`` into ``options.out`` (or go on with it), load it, read hyper-parameters from weights.

    Returns 1 where a task could not be run, else 0.
    """
    started_s, out = time.monotonic(), options.out
    preset = PRESETS["quickstart"]
    counts = " and ".join(f"{n} {population}" for population, n in preset["trainings"].items())
    say(f"1. Training {counts} networks on scikit-learn's digits into {out}/")
    say("   (Ctrl-C stops; the same command goes on)")
    build(BuildConfig(out=out, **preset))
    trainings = nws_data.open(out, "fixed").trainings()
    _print_lines("2. What it holds", _contents(out, trainings))
    _print_lines("3. Loading it", _loaded(out))
    title = "4. Mean final test accuracy in % (networks), by initialization and activation"
    _print_lines(title, format_pair_table(trainings, *_PAIR))
    results = out.parent / f"{out.name}-results"
    say("\n5. What weights tell of networks that the method was not fitted on")
    readings = list(_read(out, results))
    if not readings:  # stderr says why
        return 1
    write_board(results, results)
    picture = out.parent / f"{out.name}-quickstart.png"
    draw(readings, trainings, picture)
    _print_lines(None, align([HEADER, *(reading.row() for reading in readings)]))
    sentences = (textwrap.wrap(reading.words(), 76, subsequent_indent="  ") for reading in readings)
    _print_lines("What this shows", [line for lines in sentences for line in lines])
    nws = "nws" if shutil.which("nws") else os.path.relpath(Path(sys.executable).with_name("nws"))
    say(f"\nPicture: {picture}   Leaderboard, for a browser: {results / HTML}")
    say(f"Next: {nws} info {out}; {nws} verify {out}; {nws} tasks {out}")
    say(f"Done in {time.monotonic() - started_s:.0f} s.")
    return 0 if len(readings) == len(TASKS) else 1


def _print_lines(title: str | None, lines: Sequence[str]) -> None:
    if title is not None:
        say(f"\n{title}")
    say("\n".join(f"   {line}" for line in lines))


def _contents(out: Path, trainings: pd.DataFrame) -> list[str]:
    manifest = Manifest.load(out)
    n_bytes = sum(shard.nbytes for shard in manifest.shards)
    n = sum(split.n_trainings for population in manifest.populations.values() for split in population.splits.values())
    best = trainings.loc[trainings["final_test_accuracy"].idxmax()]
    hyperparameters = (best[name] for name in ("initialization", "activation", "optimizer"))
    return [
        f"{n} trainings with 20 snapshots each, {n_bytes / 1e6:,.0f} MB of weights",
        f"the best: {best['training']} ({', '.join(hyperparameters)}, batch size {best['batch_size']}),",
        f"test accuracy {100 * best['final_test_accuracy']:.1f} % after {best['n_epochs']} epochs",
    ]


def _loaded(out: Path) -> list[str]:
    from datasets import load_dataset
    from datasets.utils import disable_progress_bars
    from torch.utils.data import DataLoader

    disable_progress_bars()
    rows = load_dataset(str(out), "fixed", split="train")
    late = nws_data.open(out, "fixed", split="train").select(last=4)
    windows = nws_data.RandomWindows(late, length=5000, target="optimizer")
    weights, labels = next(iter(DataLoader(windows, batch_size=64, shuffle=True)))
    return [
        f'datasets.load_dataset("{out}", "fixed", split="train"):',
        f"  {len(rows):,} rows, one a snapshot, {len(rows.column_names)} columns",
        "nws_data.RandomWindows in a DataLoader of batch size 64:",
        f"  weights {tuple(weights.shape)}, labels {tuple(labels.shape)}, one of {', '.join(windows.classes or ())}",
    ]


def _read(out: Path, results: Path) -> Iterator[Reading]:
    """Run each task's method and `TRIVIAL` in five folds; yield what came of it. Says on stderr what was not possible."""
    plans = [plan for task, method in TASKS.items() for plan in make_plans([task], [method, TRIVIAL], {}, 1, folds=True)]
    with progress_bar(total=sum(plan.n_fits for plan in plans), bar_format=FITS) as bar:
        outcomes = list(run_all(plans, out.resolve(), results.resolve(), bar=bar))
    for weights, others in zip(outcomes[::2], outcomes[1::2], strict=True):
        found = [cast(ClassificationScore, o.result.runs[0].score) for o in (weights, others) if o.result is not None]
        if len(found) == 2:
            yield Reading(parse_task(weights.plan.task), *found)
        else:
            say(f"   {weights.plan.task}: {weights.note or others.note}", error=True)


def draw(readings: Sequence[Reading], trainings: pd.DataFrame, path: Path) -> None:
    """Write the picture: what the weights tell beside chance, learning curves, accuracy by combination."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.4), layout="constrained")
    bars, curves, combinations = figure.subplots(1, 3, width_ratios=[1.25, 1.1, 1])
    _draw_bars(bars, readings)
    _draw_curves(curves, trainings)
    draw_pair(combinations, pair_table(trainings, *_PAIR))
    combinations.set_title("Mean final test accuracy in % (networks)")
    figure.savefig(path, dpi=100)


def _draw_bars(axes: Axes, readings: Sequence[Reading]) -> None:
    for i, reading in enumerate(readings):
        for side, score, colour in ((-0.2, reading.weights, "#0072b2"), (0.2, reading.others, "#aaaaaa")):
            low, high = score.accuracy - score.accuracy_low, score.accuracy_high - score.accuracy
            error = [[100 * low], [100 * high]]
            axes.bar(i + side, 100 * score.accuracy, 0.38, color=colour, yerr=error, capsize=4, ecolor="#333333")
            axes.text(i + side, 2, f"{_percent(score.accuracy)} %", ha="center", color="white" if side < 0 else "black")
        axes.hlines(100 * reading.weights.chance, i - 0.45, i + 0.45, colors="#d55e00", linestyles="dashed", linewidth=2)
    names = [f"{reading.task.target}\nfrom {reading.source}" for reading in readings]
    axes.set_xticks(range(len(readings)), names, fontsize=9)
    axes.set(ylabel="networks or windows told right (%)", ylim=(0, 100), title="What the weights tell (95 % interval)")
    handles = [axes.bar(0, 0, color=colour) for colour in ("#0072b2", "#aaaaaa")]
    chance = axes.plot([], [], color="#d55e00", linestyle="dashed", linewidth=2)
    labels = ["weights", "other hyper-parameters", "chance"]
    axes.legend([*handles, *chance], labels, fontsize=8, ncols=3, **_LEGEND_BELOW)


def _draw_curves(axes: Axes, trainings: pd.DataFrame) -> None:
    alpha = float(np.clip(20 / len(trainings), 0.05, 0.4))
    for name, colour in _COLOURS.items():
        group = trainings.loc[trainings["initialization"] == name, "test_accuracy"]
        if group.empty:
            continue
        curves = 100 * np.stack([resample(curve) for curve in group])
        progress = np.linspace(0, 100, curves.shape[1])
        axes.plot(progress, curves.T, color=colour, alpha=alpha, linewidth=0.8)
        axes.plot(progress, curves.mean(0), color=colour, linewidth=2.6, label=f"{name} ({len(group):,})")
    axes.set(xlabel="progress of the training (%)", ylabel="test accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    axes.set_title("Learning curves")
    title = "initialization (trainings); thick: mean"
    axes.legend(title=title, fontsize=8, title_fontsize=8, **_LEGEND_BELOW | {"ncols": 2})


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"
