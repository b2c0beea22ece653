"""Runs methods on tasks, seed by seed, and writes one result file a run; what is there already is not run again.

With several workers, each runs in a process of its own; those that share checkpoints stay together.
"""

from __future__ import annotations

import operator
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from baselines.method import Method, MethodError
from baselines.reading.saved import SUFFIX, classifier_of, save
from baselines.registry import make_method, options_of
from baselines.shallow import FeatureMethod
from benchmarks.leaderboard.files.results import Result, ResultError, SeedRun, path_of, prediction_name
from benchmarks.leaderboard.runs.environment import environment
from benchmarks.leaderboard.runs.plans import Plan, is_path, source_file
from benchmarks.leaderboard.runs.published import Published
from benchmarks.leaderboard.runs.unfinished import Unfinished
from nws_data.errors import NWSError
from nws_data.format.manifest import Manifest
from nws_data.hashing import file_sha256
from nws_data.progress import progress_bar
from nws_data.tasks.scores import pool
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import Task, load_task
from nws_data.terminal import plain


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a plan."""

    plan: Plan
    result: Result | None = None  # None where it failed
    skipped: bool = False  # the file was there
    reused: str = ""  # where a published result lies that was taken over
    note: str = ""  # why it failed, why a file that was there did not count, or what was not written


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Folders for what every fit gives; what has none is not kept."""

    predictions: Path | None = None  # files for nws score; else they are only hashed
    classifiers: Path | None = None  # files for nws read

    def paths(self, plan: Plan, test_set: str, seed: int) -> dict[str, Path]:
        """Return the files of one fit by what they hold."""
        name = prediction_name(plan.task, plan.folds, plan.label, plan.options, test_set, seed)
        files = {"predictions": (self.predictions, name), "classifiers": (self.classifiers, f"{Path(name).stem}{SUFFIX}")}
        return {what: folder / file for what, (folder, file) in files.items() if folder is not None}


NOTHING = Keep()


def run_all(
    plans: Iterable[Plan],
    root: Path,
    out: Path,
    *,
    keep: Keep = NOTHING,
    again: bool = False,
    published: Published | None = None,
    workers: int = 1,
    bar: Any,
) -> Iterator[Outcome]:
    """Run plans, in the order in which they end; each result file is written as soon as its seeds are done.

    Folders are absolute, or a method that changes the working directory moves them: ``root`` of the dataset, ``out`` of
    results, ``keep`` for what fits give. ``again`` runs what is there already; ``published`` is taken over instead of run.
    ``workers`` processes run one plan each; with one, all run here. ``bar``, of tqdm, counts fits.
    """
    manifest = Manifest.load(root)
    digests = {name: manifest.population_digest(name) for name in manifest.populations}
    # The environment is asked for once, now: the code that runs was read at this commit, whatever is committed meanwhile.
    source = None if again else published
    run = partial(_Run, environment(), digests, root=root, out=out, keep=keep, again=again, published=source)
    if workers == 1:
        for plan in plans:
            yield run(plan=plan, bar=bar).outcome()
        return
    work = delayed(partial(_run_job, run))
    for n_fits, outcomes in in_processes(map(work, _jobs(plans)), workers, ordered=False):
        bar.update(n_fits)
        yield from outcomes


def in_processes(jobs: Iterable[Any], workers: int, *, ordered: bool) -> Iterator[Any]:
    """Yield what ``delayed`` jobs return, in their order or as they end; so many run at a time, one in a process."""
    with warnings.catch_warnings():
        # A process that has grown by the data it read is replaced between two jobs; nothing is lost.
        warnings.filterwarnings("ignore", "A worker stopped")
        yield from Parallel(workers, return_as="generator" if ordered else "generator_unordered", batch_size=1)(jobs)


def _jobs(plans: Iterable[Plan]) -> list[list[Plan]]:
    """Return plans that one process runs, one after the other: those of a task that share checkpoints; the others alone."""
    jobs: dict[Any, list[Plan]] = {}
    for number, plan in enumerate(plans):
        folder = plan.given.get("folder")
        jobs.setdefault((folder, plan.task) if folder else number, []).append(plan)
    return list(jobs.values())


def _run_job(run: Callable[..., _Run], plans: Sequence[Plan]) -> tuple[int, list[Outcome]]:
    """Return the number of fits planned, and what came of the plans."""
    return sum(plan.n_fits for plan in plans), [run(plan=plan, bar=progress_bar(shown=False)).outcome() for plan in plans]


@dataclass(frozen=True)
class _Run:
    """A plan on one dataset."""

    environment: dict[str, Any]
    digests: dict[str, str]  # of the data, by population
    plan: Plan
    root: Path
    out: Path
    keep: Keep
    again: bool
    published: Published | None
    bar: Any

    @cached_property
    def digest(self) -> str:
        return self.digests[parse_task(self.plan.task).family.population]

    @cached_property
    def unfinished(self) -> Unfinished:
        plan = self.plan
        return Unfinished(self.out, path_of(plan.task, plan.folds, plan.label, plan.options, self.digest), self.environment)

    def outcome(self) -> Outcome:
        """Run the plan unless its result is there; an ``NWSError`` becomes the outcome's note."""
        try:
            with self.unfinished.alone():
                return self._outcome()
        except NWSError as error:
            return Outcome(plan=self.plan, note=str(error))

    def _outcome(self) -> Outcome:
        (found, note), reused = (None, "") if self.again else self._existing(), ""
        if found is None and self.published and (taken := self.published.find(self.unfinished.path, self.plan.seeds)):
            found, reused = taken
            found.save(self.out)
        if found is not None:
            self.bar.update(self.plan.n_fits)
            return Outcome(plan=self.plan, result=found, skipped=True, reused=reused, note=self._not_written())
        if not self._draws():
            self.bar.update(self.plan.n_fits - (self.plan.folds or 1))
            return replace(self, plan=replace(self.plan, seeds=self.plan.seeds[:1]))._outcome()
        return Outcome(plan=self.plan, result=self._make(), note=note)

    def _draws(self) -> bool:
        """Whether seeds differ: else one fit stands for all."""
        if len(self.plan.seeds) == 1:
            return True
        with failures_named(self.plan.method):
            method = make_method(self.plan.method, **self.plan.given)
            return any(method.draws(load_task(name, self.root)) for name in self.plan.test_sets)

    def _existing(self) -> tuple[Result | None, str]:
        """Return the sound result file that holds the plan's seeds already, or None and why the one there does not count."""
        path = self.out / self.unfinished.path
        if not path.is_file():
            return None, ""
        try:
            found = Result.load(path)
        except ResultError as error:
            return None, f"replaced {path}, which was not valid: {error}"
        same = found.path == self.unfinished.path and set(self.plan.seeds) <= set(found.seeds)
        return (found, "") if same else (None, f"replaced {path} of {len(found.seeds)} seeds")

    def _not_written(self) -> str:
        """Return a sentence where files are wanted that a run which is not run again does not write."""
        fits = [(name, seed) for seed in self.plan.seeds for name in self.plan.test_sets]
        wanted = (item for fit in fits for item in self.keep.paths(self.plan, *fit).items())
        missing = dict.fromkeys(what for what, path in wanted if not path.exists())
        return f"its {' and '.join(missing)} were not written, --again writes them" if missing else ""

    def _make(self) -> Result:
        plan, runs = self.plan, []
        for seed in plan.seeds:
            parts = []
            for name in plan.test_sets:
                wanted = self.keep.paths(plan, name, seed)
                part = self.unfinished.load(name, seed) if all(path.exists() for path in wanted.values()) else None
                if part is None:
                    part = self._fit(name, seed, wanted)
                    self.unfinished.save(name, part)
                parts.append(part)
                self.bar.set_postfix_str(plain(f"{name} {plan.label} seed {seed}"), refresh=False)
                self.bar.update()
            runs.append(_together(parts))
        result = Result(
            task=plan.task,
            official=not plan.folds and parse_task(plan.task).official,
            folds=plan.folds,
            method=plan.label,
            options=plan.options,
            data_digest=self.digest,
            runs=tuple(runs),
            **self.environment,
            finished_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        result.save(self.out)
        self.unfinished.remove()
        return result

    def _fit(self, name: str, seed: int, wanted: dict[str, Path]) -> SeedRun:
        """Fit and score one method with one seed on one task; write its predictions and itself where they are wanted.

        The method gets a task of its own: it is scored on one that it cannot have written into. A method with an option
        ``folder`` that is a path keeps checkpoints there: a killed fit then goes on with them.
        """
        given, folder = self.plan.given, options_of(self.plan.method).get("folder")
        if folder is not None and is_path(folder.annotation):
            given = {"folder": self.unfinished.checkpoints(name, seed), **given}
        task = load_same(name, self.root, seed, self.digest)
        with failures_named(self.plan.method):
            method = make_method(self.plan.method, seed, **given)
            started_s = time.perf_counter()
            method.fit(task)
            fitted_s = time.perf_counter()
            values = method.predict(task.test)
            predicted_s = time.perf_counter()
            n_parameters = _n_parameters(method)
            if "classifiers" in wanted and isinstance(method, FeatureMethod):
                save(classifier_of(method, self.plan.method, given, task), wanted["classifiers"])
        task = load_same(name, self.root, seed, self.digest)
        with failures_named(self.plan.method):
            predictions = task.predictions(values)
        with tempfile.TemporaryDirectory() as temporary:
            path = wanted.get("predictions", Path(temporary, "predictions.parquet"))
            predictions.save(path)
            sha256 = file_sha256(path)
        return SeedRun(
            seed=seed,
            score=task.evaluate(predictions),
            n_parameters=n_parameters,
            # What a checkpoint brings was trained by an earlier process.
            fit_s=round(max(fitted_s - started_s, method.training_s or 0.0), 4),
            predict_s=round(predicted_s - fitted_s, 4),
            predictions_sha256=(sha256,),
        )


def load_same(name: str, root: Path, seed: int, digest: str) -> Task:
    """Load a task; raises ``NWSError`` where the data are not those of ``digest`` any more."""
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
def failures_named(method: str) -> Iterator[None]:
    """Turn whatever a method raises into a ``MethodError`` such as ``ValueError: boom (mine.py:9)``; but not Ctrl-C."""
    try:
        yield
    except NWSError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = source_file(method)
        frame = next((frame for frame in reversed(frames) if Path(frame.filename) == own), frames[-1])
        place = f" ({Path(frame.filename).name}:{frame.lineno})"
        raise MethodError(f"{type(error).__name__}: {error}{place}") from error


def _together(parts: list[SeedRun]) -> SeedRun:
    """Return the fits of one seed on all test sets as one: counts pooled, times added."""
    return SeedRun(
        seed=parts[0].seed,
        score=pool([part.score for part in parts]),
        n_parameters=max((p.n_parameters for p in parts if p.n_parameters is not None), default=None),
        fit_s=round(sum(part.fit_s for part in parts), 4),
        predict_s=round(sum(part.predict_s for part in parts), 4),
        predictions_sha256=tuple(digest for part in parts for digest in part.predictions_sha256),
    )
