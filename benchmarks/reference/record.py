"""What a reference population is and took, measured on the dataset and its results: the numbers of docs/reference-run.md.

Populations may be built and run one at a time, on different machines: each has a record of its own.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

import nws_data
from benchmarks.leaderboard.board.write import read_results
from benchmarks.reference.budgets import PILOTS, Budget
from benchmarks.reference.commands import DATA, LEAKS, RESULTS, check_leaks, pilot_folder, population_of
from builders.estimate.image_counts import ImageCounts
from builders.plan.shape import training_flop
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import read_table
from nws_data.machine import processor, usable_cores
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters, Population
from nws_data.tasks.report import task_states

_HYPERPARAMETERS = tuple(HyperParameters.__dataclass_fields__)


def measure_record(name: str, budget: Budget, out: Path, population: Population) -> dict[str, Any]:
    """Return a population's plan, machine, sizes, availability of the official tasks, cost of the runs and leaks, for JSON.

    Raises ``FormatError`` or ``ResultError`` for what is no dataset or no folder of results.
    """
    data, results = out / DATA, out / RESULTS
    manifest = Manifest.load(data)
    digest = manifest.population_digest(population)
    runs = [run for result in read_results(results).values() if result.data_digest == digest for run in result.runs]
    shards = [shard for stored in manifest.populations[population].splits.values() for shard in stored.shards]
    leaks = [leak for leak in check_leaks(budget.leaks, data, out / LEAKS) if population_of(leak["task"]) == population]
    return {
        "budget": name,
        "n_train": budget.n_train,
        "n_test": budget.n_test,
        "epoch_cap": budget.epoch_cap,
        "seed": budget.seed,
        "planned": budget.trainings[population],
        "cores": usable_cores(),
        "processor": processor("model name") or platform.machine(),
        "torch": version("torch"),
        "digest": digest,
        "gigabytes": sum(shard.nbytes for shard in shards) / 1e9,
        **_population(budget, data, population),
        "tasks": {state.name: state.reason for state in task_states(data) if population_of(state.name) == population},
        "fits": len(runs),
        "fit_s": sum(run.fit_s for run in runs),
        "predict_s": sum(run.predict_s for run in runs),
        "leaks": leaks,
    }


def measure_pilots(budget: Budget, out: Path, population: Population) -> list[dict[str, Any]]:
    """Return sizes, operations and who passes of a population's pilots below ``out``, for JSON."""
    found = []
    for n_train, epoch_cap in PILOTS[population]:
        folder = pilot_folder(out, population, n_train, epoch_cap)
        if folder.exists():
            measured = _population(replace(budget, n_train=n_train, epoch_cap=epoch_cap), folder, population)
            kept = {key: measured[key] for key in ("trainings", "passed", "passed_by", "flop")}
            found.append({"n_train": n_train, "epoch_cap": epoch_cap, **kept})
    return found


def _population(budget: Budget, data: Path, population: Population) -> dict[str, Any]:
    frame = nws_data.open(data, population).trainings()
    manifest = Manifest.load(data)
    thresholds = {image_set.name: image_set.threshold for image_set in manifest.image_sets}
    frame["passed"] = frame["finite"] & (frame["final_test_accuracy"] > frame["dataset"].map(thresholds))
    work = frame.apply(lambda row: _work(budget, row), axis=1, result_type="expand")
    seconds = read_table(data, manifest, manifest.provenance).to_pandas().set_index("training")["wall_s"]
    return {
        "trainings": len(frame),
        "finite": int(frame["finite"].sum()),
        "passed": int(frame["passed"].sum()),
        "passed_by": {
            column: {str(value): [int(group["passed"].sum()), len(group)] for value, group in frame.groupby(column)}
            for column in ("dataset", "initialization")
        },
        "images": float(work[0].sum()),
        "flop": float(work[1].sum()),
        "core_s": float(seconds[frame["training"]].sum()),
    }


def _work(budget: Budget, row: pd.Series) -> tuple[float, float]:
    """Return the images that a training was trained on, and its operations."""
    counts = ImageCounts(row["dataset"], budget.n_train, budget.n_test, budget.n_train // 10)
    images = row["n_epochs"] * counts.epoch_images(row["batch_size"])
    hyperparameters = HyperParameters(**{name: row[name] for name in _HYPERPARAMETERS})
    return images, images * training_flop(Architecture.of(hyperparameters))
