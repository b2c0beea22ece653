"""``nws reference build`` and ``run``: the population and its results; both go on where they were interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import options_of
from benchmarks.findings.make import KEPT, chosen, make_figures
from benchmarks.findings.source import Source
from benchmarks.leaderboard.board.write import read_results
from benchmarks.leaderboard.runs.command import sentence
from benchmarks.leaderboard.runs.permutations import run_checks
from benchmarks.leaderboard.runs.plans import Plan, choose_methods, choose_tasks, make_plans
from benchmarks.leaderboard.runs.runner import Keep, run_all
from benchmarks.reference.budgets import N_PILOT, PILOTS, Budget, Runs
from builders.build import build
from builders.images.sources import default_image_root, load_images
from nws_data.atomic import atomic_file, write_bytes
from nws_data.format.manifest import Manifest
from nws_data.machine import usable_cores
from nws_data.progress import FITS, progress_bar
from nws_data.space.hyperparameters import POPULATIONS, Population
from nws_data.tasks.table import parse_task
from nws_data.terminal import say

SVHN_PART = "svhn_subset.npz"
N_SVHN = 10_000
DATA, ABLATION, RESULTS, FIGURES = "nws", "nws-without-batch-norm", "results", "figures"
PILOTS_FOLDER = "pilots"
PREDICTIONS, CHECKPOINTS = "predictions", "checkpoints"
LEAKS = "leaks.json"
"""Below the folder of the reference population."""


def build_reference(budget: Budget, out: Path, root: Path | None, download: bool) -> None:
    """Build the population into ``out/nws``, then that without batch norm; raises as :func:`builders.build.build` does."""
    part = svhn_part(root or default_image_root(), download)
    for config in budget.configs(out / DATA, out / ABLATION, part, root, download, usable_cores()):
        for report in build(config):
            counts = f"{report.n_trainings} trainings, {report.n_new} trained now in {report.elapsed_s:.0f} s"
            say(f"{config.out}, {report.population}: {counts}")
    say(f"Next: nws reference run --out {out}")


def build_pilots(budget: Budget, out: Path, root: Path | None, download: bool) -> None:
    """Train the first ``N_PILOT`` networks of each population by its image counts and epoch caps, into ``out/pilots``."""
    part = svhn_part(root or default_image_root(), download)
    for population in (name for name in POPULATIONS if name in budget.trainings):
        for n_train, epoch_cap in PILOTS[population]:
            plan = replace(budget.of([]), n_train=n_train, epoch_cap=epoch_cap, trainings={population: N_PILOT})
            folder = pilot_folder(out, population, n_train, epoch_cap)
            (config,) = plan.configs(folder, folder, part, root, download, usable_cores())
            for report in build(config):
                say(f"{folder}: {report.n_trainings} trainings, {report.n_new} trained now in {report.elapsed_s:.0f} s")
    say(f"Next: nws reference report --out {out}")


def pilot_folder(out: Path, population: Population, n_train: int, epoch_cap: int) -> Path:
    """Return the folder of a pilot's dataset."""
    return out / PILOTS_FOLDER / f"{population}-{n_train}-images-{epoch_cap}-epochs"


def population_of(task: str) -> Population:
    """Return the population that a task is of."""
    return parse_task(task).family.population


def svhn_part(root: Path, download: bool) -> Path:
    """Return the file of the first 10,000 images of SVHN's test split, made from torchvision's where it is not there."""
    path = root / SVHN_PART
    if not path.exists():
        whole = load_images("svhn", root, download)
        with atomic_file(path) as stream:
            np.savez(stream, images=whole.test_images[:N_SVHN].transpose(0, 2, 3, 1), labels=whole.test_labels[:N_SVHN])
    return path


def run_reference(budget: Budget, out: Path) -> int:
    """Run the budget's methods on its tasks, check them for leaks, make all figures; returns how many runs failed."""
    data, results = (out / DATA).resolve(), (out / RESULTS).resolve()
    remove_stale(results, data)
    checkpoints = (out / CHECKPOINTS).resolve()
    for name in POPULATIONS:
        if name not in Manifest.load(data).populations:
            say(f"no population {name} in {data}: its runs are left out; nws reference build --population {name} trains it")
    plans = [plan for runs in budget.runs for plan in plans_of(runs, data, checkpoints)]
    keep, failed = Keep(predictions=(out / PREDICTIONS).resolve()), 0
    with progress_bar(total=sum(plan.n_fits for plan in plans), bar_format=FITS) as bar:
        for outcome in run_all(plans, data, results, keep=keep, workers=usable_cores(), bar=bar):
            if not outcome.skipped:
                say(sentence(outcome), error=outcome.result is None)
            failed += outcome.result is None
    check_leaks(budget.leaks, data, out / LEAKS)
    figures, ablation = out / FIGURES, out / ABLATION
    source = Source(data, results, kept=figures / KEPT, checkpoints=checkpoints)
    if ablation.exists():
        source = replace(source, without_batch_norm=ablation)
    for figure in make_figures(chosen(budget.figures), source, figures):
        say(f"{figure.name}: {figure.shows or f'not made: {figure.missing}'}")
    say(f"Next: nws reference report --out {out}")
    return failed


def remove_stale(results: Path, data: Path) -> None:
    """Remove result files of data that a population held before it grew: no board ranks them with others."""
    manifest = Manifest.load(data)
    digests = {manifest.population_digest(name) for name in manifest.populations}
    if not any(results.glob("[!.]*/*.json")):
        return
    for path, result in read_results(results).items():
        if result.data_digest not in digests:
            path.unlink()
            say(f"removed {path}: made on other data")


def check_leaks(leaks: Sequence[Runs], data: Path, path: Path) -> list[dict[str, Any]]:
    """Return the checks for leaks on tasks that these data have, for JSON: from the file if made on them, else made."""
    made_of = {"data": Manifest.load(data).data_digest, "runs": json.loads(json.dumps([asdict(runs) for runs in leaks]))}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["made_of"] == made_of:
            return list(found["checks"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    checks = [
        asdict(check)
        for runs in leaks
        if (tasks := choose_tasks(runs.tasks, data, folds=False)[0])
        for check in run_checks(tasks, runs.methods, dict(runs.options), runs.seeds, data, usable_cores())
    ]
    write_bytes(path, json.dumps({"made_of": made_of, "checks": checks}).encode())
    return checks


def plans_of(runs: Runs, data: Path, checkpoints: Path) -> Iterator[Plan]:
    """Yield the runs that this dataset has trainings for; says which tasks of its populations it has not.

    Methods that train for long keep their checkpoints in one folder: what differs in evaluation alone is trained once.
    """
    populations = Manifest.load(data).populations
    tasks = [task for task in runs.tasks if population_of(task) in populations]
    found, missing = choose_tasks(tasks, data, runs.folds)
    for reason in missing:
        say(f"left out: {reason}", error=True)
    methods = choose_methods(runs.methods)
    folder = {"folder": str(checkpoints)} if any("folder" in options_of(method) for method in methods) else {}
    yield from make_plans(found, methods, dict(runs.options) | folder, runs.seeds, runs.folds)
