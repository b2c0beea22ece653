"""What `nws bench run` is asked for: methods and tasks from names and patterns, and which of them go together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from baselines.method import MethodError
from baselines.registry import METHODS, find_method, options_of, resolve_options
from benchmarks.leaderboard.files.against_data import test_sets
from benchmarks.leaderboard.files.checks import METHOD, control_character
from benchmarks.leaderboard.files.results import SOURCE
from benchmarks.leaderboard.suites import suite_tasks
from nws_data.errors import NWSError, TaskError, TaskNotAvailableError, one_of
from nws_data.format.manifest import Manifest
from nws_data.hashing import file_sha256
from nws_data.tasks.table import N_FOLDS, matching_names, parse_task
from nws_data.tasks.task import load_task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run to make."""

    task: str  # canonical
    folds: int  # 0 or 5
    method: str
    given: dict[str, Any]  # options as given
    options: dict[str, Any]  # as a result file has them
    seeds: tuple[int, ...]

    @property
    def label(self) -> str:
        """The method as results name it."""
        return method_label(self.method)

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The names of the tasks that each seed is fitted on."""
        return test_sets(self.task, self.folds)

    @property
    def n_fits(self) -> int:
        """Fits of all seeds on all test sets."""
        return len(self.seeds) * (self.folds or 1)


def choose_methods(names: Iterable[str]) -> list[str]:
    """Return methods by name, pattern or class path, each once; raises ``NWSError`` where there is none.

    The path of a file is made absolute: a method may change the working directory.
    """
    chosen: dict[str, None] = {}
    for name in names:
        file, colon, class_name = name.rpartition(":")
        if _is_pattern(name) and not colon:
            found = [method for method in METHODS if fnmatchcase(method, name)]
            if not found:
                raise NWSError(f"no method matches {name!r}; there are {', '.join(METHODS)}")
            chosen |= dict.fromkeys(found)
            continue
        find_method(name).load()
        if not METHOD.holds(method_label(name)):
            raise NWSError(f"results know a method by {METHOD.words}; rename {method_label(name)!r}")
        chosen[f"{Path(file).resolve()}:{class_name}" if file.endswith(".py") else name] = None
    return list(chosen)


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def choose_tasks(names: Iterable[str], root: Path, folds: bool) -> tuple[list[str], list[str]]:
    """Return the canonical names of available tasks, and why tasks asked for by name are not available.

    Patterns pick, among the official names, those that are available here; ``/threshold=0`` and the like may follow. The
    label of a suite, such as ``NWS(global, v1)``, stands for its tasks.

    Raises:
        TaskError: an unknown task, or a pattern that no available task matches.
        FormatError: no dataset.
    """
    image_sets = [image_set.name for image_set in Manifest.load(root).image_sets]
    chosen: dict[str, None] = {}
    missing = []
    for name in suite_tasks(names):
        if _is_pattern(name):
            found = matching_names(image_sets, name)
            here = [task for task in found if _reason_missing(task, folds, root) is None]
            if not here:
                why = f"`nws tasks {root} '{name}'` says why none is available" if found else "`nws tasks` lists all"
                raise TaskError(f"{len(found)} tasks match {name!r}; {why}")
            chosen |= dict.fromkeys(here)
            continue
        spec = parse_task(name)
        if folds and spec.fold is not None:
            raise TaskError(f"task {name}: --folds runs all five folds; give the name without /fold=")
        if reason := _reason_missing(spec.name, folds, root):
            missing.append(reason)
        else:
            chosen[spec.name] = None
    return list(chosen), missing


def _reason_missing(task: str, folds: bool, root: Path) -> str | None:
    """Return why a task is not available on a dataset; None where it is."""
    try:
        for name in test_sets(task, N_FOLDS if folds else 0):
            load_task(name, root)
    except TaskNotAvailableError as error:
        return str(error)
    return None


def make_plans(
    tasks: Sequence[str], methods: Sequence[str], options: Mapping[str, str], seeds: int, folds: bool
) -> Iterator[Plan]:
    """Yield the runs of all tasks with all methods that fit them, task by task, each method with those options it has.

    Raises ``MethodError`` for an option that no method has, or one that :func:`recorded_options` refuses.
    """
    given = {method: {key: value for key, value in options.items() if key in options_of(method)} for method in methods}
    for key in options:
        if not any(key in own for own in given.values()):
            _refuse_option(key, methods)
    recorded = {method: recorded_options(method, given[method]) for method in methods}
    for task in tasks:
        for method in (method for method in methods if fits(method, task)):
            yield Plan(
                task=task,
                folds=N_FOLDS if folds else 0,
                method=method,
                given=given[method],
                options=recorded[method],
                seeds=tuple(range(seeds)),
            )


def plans_to_check(tasks: Sequence[str], methods: Sequence[str], options: Mapping[str, str], root: Path) -> list[Plan]:
    """Return the runs of checks of methods: each method on each task that it fits, with seed 0.

    Raises:
        NWSError: names, options or a dataset that make no sense, a task that is not available, no method that fits.
    """
    chosen, missing = choose_tasks(tasks, root, folds=False)
    if missing:
        raise TaskError(missing[0])
    plans = list(make_plans(chosen, choose_methods(methods), options, seeds=1, folds=False))
    if not plans:
        raise NWSError("none of these methods fits these tasks; nws bench methods says what each reads")
    return plans


def _refuse_option(key: str, methods: Sequence[str]) -> None:
    """Raise ``MethodError`` for an option that no method has, or that all which have it fix."""
    for method in methods:
        if key in find_method(method).options:
            resolve_options(method, {key: None})
    free = dict.fromkeys(option for method in methods for option in options_of(method))
    names = ", ".join(map(method_label, methods))
    raise MethodError(f"option of {names}: {one_of(key, free or ['(they have none)'])}")


def fits(method: str, task: str) -> bool:
    """Whether a method reads what a task gives and predicts what it asks for."""
    entry, family = find_method(method), parse_task(task).family
    reads = "vector" if family.part is None else "windows"
    return reads in entry.inputs and ("regression" if family.regression else "classification") in entry.kinds


def recorded_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of a method with its value, as a result file has them.

    Options that the method's name fixes are left out, and paths: they say where something lies on this machine, not
    what was computed. A method that is not registered gets ``source``: its name is not unique, and what it names changes.

    Raises ``MethodError`` for an option that the method does not take or that a result file cannot hold.
    """
    values, free = resolve_options(method, given), options_of(method)
    kept = {name: values[name] for name, option in free.items() if not is_path(option.annotation)}
    plain = {name: v if v is None or isinstance(v, str | int | float) else str(v) for name, v in kept.items()}
    for name, value in plain.items():
        if control_character(value) or (isinstance(value, float) and not math.isfinite(value)):
            raise MethodError(f"option {name}: a result file cannot hold {value!r}; give a finite number or plain text")
    if method in METHODS:
        return plain
    if SOURCE in free:
        raise MethodError(f"{method}: results keep the digest of the source under {SOURCE!r}; give that option another name")
    return plain | {SOURCE: file_sha256(source_file(method))[:12]}


def is_path(annotation: Any) -> bool:
    """Whether an option's annotation says that it is a path."""
    return "Path" in str(annotation)


def source_file(method: str) -> Path:
    """Return the file that holds a method's class."""
    return Path(inspect.getfile(find_method(method).load()))


def method_label(method: str) -> str:
    """Return a method's name for results; of ``folder/file.py:Class`` the folder is left away."""
    file, _, name = method.rpartition(":")
    return f"{Path(file).name}:{name}" if file.endswith(".py") else method
