"""``nws quickstart``: from nothing to a dataset that is built, loaded, shown and benchmarked."""

from __future__ import annotations

import time
from pathlib import Path

import nws_data
from benchmarks.leaderboard.board.write import HTML, write_board
from benchmarks.leaderboard.runs.command import bench
from builders.build import build
from builders.config import PRESETS, BuildConfig
from builders.training_statistics import accuracy_table, draw_training_statistics, format_accuracy_table
from nws_data.storage.info import describe, format_info

WINDOW = 5_000
TASKS = ("regress/test_accuracy", "global/augmentation/threshold=0")
"""What a build of this size has enough trainings for: one official task and, without the threshold, an unofficial one."""

METHODS = ("majority", "hyperparameters", "svm-linear-16", "svm-linear-480")
SEEDS = 3


def quickstart(out: Path) -> int:
    """Build the preset ``quickstart`` into ``out`` (or go on with it), load it, show what is inside, run the benchmark."""
    started_s = time.monotonic()
    preset = PRESETS["quickstart"]
    counts = " and ".join(f"{n} {population}" for population, n in preset["trainings"].items())
    print(f"1. Training {counts} networks on scikit-learn's digits into {out}/ (Ctrl-C stops; the same command goes on)")
    build(BuildConfig(out=out, **preset))
    print("\n2. What it holds (nws info)\n")
    print(format_info(describe(out)))
    print(f'\n3. datasets.load_dataset("{out}", "fixed")\n')
    _show_load_dataset(out)
    print(f"\n4. Windows of {WINDOW:,} weights in a plain DataLoader\n")
    _show_windows(out)
    print("\n5. Mean final test accuracy (%) by initialization and activation, population fixed\n")
    trainings = nws_data.open(out, "fixed").trainings()
    print(format_accuracy_table(accuracy_table(trainings)))
    picture = out.parent / f"{out.name}-training-statistics.png"
    draw_training_statistics(trainings, picture)
    print(f"\nPicture of the trainings: {picture}")
    results = out.parent / f"{out.name}-results"
    print(f"\n6. {len(TASKS)} tasks, {len(METHODS)} methods, {SEEDS} seeds (nws bench run)\n")
    failed = bench(
        tasks=TASKS,
        methods=METHODS,
        options={},
        seeds=SEEDS,
        folds=False,
        root=out,
        out=results,
        predictions=None,
        again=False,
    )
    write_board(results, results)
    print(
        f"\nThe leaderboard: open {results / HTML} in a browser (board.md beside it; nws bench board {results} writes both)"
    )
    print(f"Done in {time.monotonic() - started_s:.0f} s. Next: nws verify {out}, nws build --help, README.md")
    return failed


def _show_load_dataset(out: Path) -> None:
    from datasets import load_dataset
    from datasets.utils import disable_progress_bars

    disable_progress_bars()
    for split, rows in load_dataset(str(out), "fixed").items():
        print(f"   {split:<11}{len(rows):>6} rows, {len(rows.column_names)} columns")
    row = load_dataset(str(out), "fixed", split="train").cast_column("weights", nws_data.Weights(root=str(out)))[-1]
    print(f"   last row: {row['training']}, epoch {row['epoch']}, test accuracy {100 * row['test_accuracy']:.1f} %,")
    print(f"   weights {tuple(row['weights'].shape)} via nws_data.Weights")


def _show_windows(out: Path) -> None:
    from torch.utils.data import DataLoader

    train = nws_data.open(out, "fixed", split="train")
    windows = nws_data.RandomWindows(train.select(last=4), length=WINDOW, target="optimizer")
    loader = DataLoader(windows, batch_size=64, shuffle=True)
    n, epochs, started_s = 0, 20, time.perf_counter()
    for epoch in range(epochs):
        windows.set_epoch(epoch)
        for batch in loader:
            weights, labels = batch
            n += len(labels)
    elapsed_s = time.perf_counter() - started_s
    print(f"   batches {tuple(weights.shape)} {weights.dtype}, labels {windows.classes}; {n / elapsed_s:,.0f} windows/s")
