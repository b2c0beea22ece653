"""Runs methods on tasks, seed by seed, and writes one result file a run; what is there already is not run again."""

from __future__ import annotations

import operator
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baselines.method import Method, MethodError
from baselines.registry import make_method, options_of
from benchmarks.leaderboard.files.against_data import test_sets
from benchmarks.leaderboard.files.results import Result, ResultError, SeedRun, path_of, prediction_name
from benchmarks.leaderboard.runs.environment import commit, hardware, versions
from benchmarks.leaderboard.runs.plans import Plan, is_path, method_label, source_file
from benchmarks.leaderboard.runs.unfinished import Unfinished
from nws_data.errors import NWSError
from nws_data.format.manifest import Manifest
from nws_data.hashing import file_sha256
from nws_data.tasks.scores import pool
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import Task, load_task

Tick = Callable[[str], None]
"""Told of every fit that is done, or was done before, by its name."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a plan."""

    plan: Plan
    result: Result | None = None  # None where it failed
    skipped: bool = False  # the file was there
    note: str = ""  # why it failed, why a file that was there did not count, or what was not written


def run_all(
    plans: Iterable[Plan], root: Path, out: Path, *, predictions: Path | None = None, again: bool = False, tick: Tick
) -> Iterator[Outcome]:
    """Run plans one after the other; each result file is written as soon as its seeds are done.

    Args:
        plans: what to run.
        root: the dataset's folder; absolute, like the others, or a method that changes the working directory moves it.
        out: folder of results.
        predictions: folder for the prediction file of every fit; by default they are only hashed.
        again: run what is there already, too.
        tick: see :data:`Tick`.
    """
    manifest = Manifest.load(root)
    # Asked once, now: the code that runs was read at this commit, whatever is committed meanwhile.
    environment = {"hardware": hardware(), "versions": versions(), "commit": commit()}
    for plan in plans:
        digest = manifest.population_digest(parse_task(plan.task).family.population)
        unfinished = Unfinished(out, result_path(plan, digest), environment)
        try:
            with unfinished.alone():
                outcome = _outcome(plan, digest, root, out, predictions, again, unfinished, tick)
        except NWSError as error:
            outcome = Outcome(plan=plan, note=str(error))
        yield outcome


def _outcome(
    plan: Plan, digest: str, root: Path, out: Path, predictions: Path | None, again: bool, unfinished: Unfinished, tick: Tick
) -> Outcome:
    """Run a plan unless its result is there; raises ``NWSError``."""
    found, note = (None, "") if again else _existing(plan, digest, out)
    if found is None and not _draws(plan, root):
        n_left_out, plan = plan.n_fits, replace(plan, seeds=plan.seeds[:1])
        for _ in range(n_left_out - plan.n_fits):
            tick(plan.name)
        found, note = (None, "") if again else _existing(plan, digest, out)
    if found is None:
        return Outcome(plan=plan, result=_run(plan, digest, root, out, predictions, unfinished, tick), note=note)
    for _ in range(plan.n_fits):
        tick(plan.name)
    return Outcome(plan=plan, result=found, skipped=True, note=_not_written(plan, predictions))


def _draws(plan: Plan, root: Path) -> bool:
    """Whether seeds differ: else one fit stands for all."""
    if len(plan.seeds) == 1:
        return True
    with _failures_named(plan.method):
        method = make_method(plan.method, **plan.given)
        return any(method.draws(load_task(name, root)) for name in test_sets(plan.task, plan.folds))


def _existing(plan: Plan, digest: str, out: Path) -> tuple[Result | None, str]:
    """Return the sound result file that holds a plan's seeds already, or None and why the one there does not count."""
    path = out / result_path(plan, digest)
    if not path.is_file():
        return None, ""
    try:
        found = Result.load(path)
    except ResultError as error:
        return None, f"replaced {path}, which was not valid: {error}"
    same = found.path == path.relative_to(out) and set(plan.seeds) <= set(found.seeds)
    return (found, "") if same else (None, f"replaced {path} of {len(found.seeds)} seeds")


def _not_written(plan: Plan, predictions: Path | None) -> str:
    """Return a sentence where prediction files are wanted that a run which is not run again does not write."""
    names = [_prediction_name(plan, name, seed) for seed in plan.seeds for name in test_sets(plan.task, plan.folds)]
    if predictions is None or all((predictions / name).exists() for name in names):
        return ""
    return "its predictions were not written, --again writes them"


def result_path(plan: Plan, digest: str) -> Path:
    """Return where the result file of a plan lies in a folder of results."""
    return path_of(plan.task, plan.folds, method_label(plan.method), plan.options, digest)


def _run(
    plan: Plan, digest: str, root: Path, out: Path, predictions: Path | None, unfinished: Unfinished, tick: Tick
) -> Result:
    runs = []
    for seed in plan.seeds:
        parts = []
        for name in test_sets(plan.task, plan.folds):
            target = None if predictions is None else predictions / _prediction_name(plan, name, seed)
            part = None if target is not None and not target.exists() else unfinished.load(name, seed)
            if part is None:
                given = {**_checkpoints(plan, unfinished.checkpoints(name, seed)), **plan.given}
                part = _fit(replace(plan, given=given), name, seed, root, digest, target)
                unfinished.save(name, part)
            parts.append(part)
            tick(f"{name} {method_label(plan.method)} seed {seed}")
        runs.append(_together(parts))
    result = Result(
        task=plan.task,
        official=not plan.folds and parse_task(plan.task).official,
        folds=plan.folds,
        method=method_label(plan.method),
        options=plan.options,
        data_digest=digest,
        runs=tuple(runs),
        **unfinished.environment,
        finished_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    result.save(out)
    unfinished.remove()
    return result


def _checkpoints(plan: Plan, folder: Path) -> dict[str, Path]:
    """Return the option ``folder`` of a method that keeps checkpoints in one: a killed fit then goes on with them."""
    option = options_of(plan.method).get("folder")
    return {"folder": folder} if option is not None and is_path(option.annotation) else {}


def _fit(plan: Plan, name: str, seed: int, root: Path, digest: str, target: Path | None) -> SeedRun:
    """Fit and score one method with one seed on one task; write its predictions where they are wanted.

    The method gets a task of its own: it is scored on one that it cannot have written into.

    Raises:
        NWSError: the data are not those of ``digest``, the method fails, or it predicts something else than is asked for.
    """
    task = _task(name, root, seed, digest)
    with _failures_named(plan.method):
        method = make_method(plan.method, seed, **plan.given)
        started_s = time.perf_counter()
        method.fit(task)
        fitted_s = time.perf_counter()
        values = method.predict(task.test)
        predicted_s = time.perf_counter()
        n_parameters = _n_parameters(method)
    task = _task(name, root, seed, digest)
    with _failures_named(plan.method):
        predictions = task.predictions(values)
    with tempfile.TemporaryDirectory() as folder:
        path = target or Path(folder, "predictions.parquet")
        predictions.save(path)
        sha256 = file_sha256(path)
    return SeedRun(
        seed=seed,
        score=task.evaluate(predictions),
        n_parameters=n_parameters,
        fit_s=round(fitted_s - started_s, 4),
        predict_s=round(predicted_s - fitted_s, 4),
        predictions_sha256=(sha256,),
    )


def _task(name: str, root: Path, seed: int, digest: str) -> Task:
    task = load_task(name, root, seed=seed)
    if task.data_digest != digest:
        raise NWSError(
            f"the dataset changed during the run, from digest {digest[:12]} to {task.data_digest[:12]}; run again"
        )
    return task


def _n_parameters(method: Method) -> int | None:
    """Return what a method says, as an int; raises ``MethodError`` for what is no count."""
    found: Any = method.n_parameters
    try:
        count = None if found is None else operator.index(found)
    except TypeError:
        count = -1
    if count is not None and not 0 <= count < 2**53:
        raise MethodError(f"n_parameters must be a whole number in [0, 2^53) or None, got {found!r}")
    return count


@contextmanager
def _failures_named(method: str) -> Iterator[None]:
    """Turn whatever a method raises into a ``MethodError`` such as ``ValueError: boom (mine.py:9)``; but not Ctrl-C."""
    try:
        yield
    except NWSError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = source_file(method)
        frame = [f for f in frames if own is not None and Path(f.filename) == own][-1:] or frames[-1:]
        place = f" ({Path(frame[0].filename).name}:{frame[0].lineno})"
        raise MethodError(f"{type(error).__name__}: {error}{place}") from error


def _together(parts: list[SeedRun]) -> SeedRun:
    """Return the fits of one seed on all test sets as one: counts pooled, times added."""
    if len(parts) == 1:
        return parts[0]
    return SeedRun(
        seed=parts[0].seed,
        score=pool([part.score for part in parts]),
        n_parameters=max((p.n_parameters for p in parts if p.n_parameters is not None), default=None),
        fit_s=round(sum(part.fit_s for part in parts), 4),
        predict_s=round(sum(part.predict_s for part in parts), 4),
        predictions_sha256=tuple(digest for part in parts for digest in part.predictions_sha256),
    )


def _prediction_name(plan: Plan, test_set: str, seed: int) -> str:
    return prediction_name(plan.task, plan.folds, method_label(plan.method), plan.options, test_set, seed)
