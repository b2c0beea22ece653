"""Checks of a result file's plain fields, before anything is computed from them: what is wrong comes as a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nws_data.read.windows import N_OFFICIAL
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import fold_split_of, parse_id, split_of
from nws_data.tasks.table import MIN_TRAININGS, N_FOLDS, TaskSpec, parse_task

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What may not be in a text: characters that end lines, turn the direction of writing or drive a terminal."""


@dataclass(frozen=True)
class Kind:
    """What a field may hold, in words and as a test of a JSON value."""

    words: str
    holds: Callable[[Any], bool]

    @property
    def or_null(self) -> Kind:
        """This kind, or null."""
        return Kind(f"{self.words} or null", lambda value: value is None or self.holds(value))

    def each(self, words: str) -> Kind:
        """A list, not empty, of this kind."""
        return Kind(words, lambda value: isinstance(value, list) and bool(value) and all(map(self.holds, value)))


def _text(words: str, pattern: str) -> Kind:
    return Kind(words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None)


def _number(words: str, *types: type) -> Kind:
    """Numbers that are exact as floats, too."""
    return Kind(words, lambda value: type(value) in types and 0 <= value < 2**53)


def _mapping(words: str, *types: type) -> Kind:
    return Kind(words, lambda value: isinstance(value, dict) and all(isinstance(item, types) for item in value.values()))


def _is_time(value: Any) -> bool:
    try:
        return time.strftime(_TIME, time.strptime(value, _TIME)) == value
    except (TypeError, ValueError):
        return False


_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TEXT, _FLAG = _text("a text", ".+"), Kind("true or false", lambda value: isinstance(value, bool))
_OBJECT = _mapping("an object", object)
_COUNT, _SECONDS = _number("a whole number in [0, 2^53)", int), _number("a number of seconds in [0, 2^53)", int, float)
_DIGEST = _text("a SHA-256 in hex", "[0-9a-f]{64}")
METHOD = _text("a name of at most 100 letters, digits and _ . : + = -", r"[\w.:+=-]{1,100}")
"""A method's name: no link, mention or markup can be written with it."""

_TOP = {
    "task": _TEXT,
    "kind": _TEXT,
    "official": _FLAG,
    "folds": _COUNT,
    "method": METHOD,
    "data_digest": _DIGEST,
    "options": _mapping("an object of plain values", str, int, float, type(None)),
    "test": _OBJECT,
    "runs": _OBJECT.each("a list of objects"),
    "hardware": _OBJECT,
    "versions": _mapping("an object of texts", str),
    "commit": _OBJECT.or_null,
    "finished_at": Kind("a time such as 2026-01-31T12:00:00Z", _is_time),
}
_RUN = {
    "seed": _COUNT,
    "n_parameters": _COUNT.or_null,
    "fit_s": _SECONDS,
    "predict_s": _SECONDS,
    "predictions_sha256": _DIGEST.each("a list of SHA-256 in hex"),
    "score": _OBJECT,
}
_HARDWARE = {"processor": _TEXT, "cores": _COUNT, "threads": _COUNT, "memory_bytes": _COUNT, "gpu": _TEXT.or_null}
_COMMIT = {"id": _text("a commit in hex", "[0-9a-f]{40,64}"), "dirty": _FLAG}


def control_character(value: Any) -> str | None:
    """Return the first text in a JSON value, keys included, with a character of :data:`CONTROL`; None where none has."""
    if isinstance(value, Mapping):
        return next((bad for pair in value.items() for item in pair if (bad := control_character(item))), None)
    if isinstance(value, list | tuple):
        return next((bad for item in value if (bad := control_character(item))), None)
    return value if isinstance(value, str) and CONTROL.search(value) else None


def problem(content: Mapping[str, Any]) -> str | None:
    """Return the first thing wrong with the types of a result's fields or its task; None where all is well."""
    if text := control_character(content):
        return f"texts may not hold control characters, got {text!r}"
    found = _fields(content, _TOP, "") or _fields(content["hardware"], _HARDWARE, "hardware.", exact=True)
    if not found and content["commit"] is not None:
        found = _fields(content["commit"], _COMMIT, "commit.", exact=True)
    for i, run in enumerate(content["runs"] if not found else ()):
        found = found or _fields(run, _RUN, f"runs[{i}].", exact=True)
    return found or _task_problem(content)


def _fields(values: Mapping[str, Any], kinds: Mapping[str, Kind], place: str, exact: bool = False) -> str | None:
    for name, kind in kinds.items():
        if name not in values:
            return f"field {place}{name} is missing"
        if not kind.holds(values[name]):
            return f"{place}{name} must be {kind.words}, got {values[name]!r}"
    odd = [name for name in values if exact and name not in kinds]
    return f"unknown field {place}{odd[0]}" if odd else None


def _task_problem(content: Mapping[str, Any]) -> str | None:
    """Compare kind, folds, official and the number of predictions with what the task's name says; may raise TaskError."""
    spec, folds = parse_task(content["task"]), content["folds"]
    kind = "regression" if spec.family.regression else "classification"
    if spec.name != content["task"]:
        return f"task {content['task']!r}: the canonical name is {spec.name!r}"
    if content["kind"] != kind:
        return f"kind is {content['kind']!r}, but {spec.name} is a {kind} task"
    if folds not in (0, N_FOLDS) or (folds and spec.fold is not None):
        return f"folds must be 0, or {N_FOLDS} of a task without /fold=, got {folds} of {spec.name}"
    if content["official"] != (spec.official and not folds):
        return f"official is {content['official']}, which {spec.name} with folds {folds} is not"
    sets = folds or 1
    odd = [run["seed"] for run in content["runs"] if len(run["predictions_sha256"]) != sets]
    return f"predictions_sha256 of seed {odd[0]} must have {sets} entries, one a test set" if odd else None


def test_problem(task: str, folds: int, test: Mapping[str, Any], confusions: Sequence[Any]) -> str | None:
    """Compare a test set with what the task's name says: population, side, items, classes, balance, least trainings.

    Returns the first difference in words, None where there is none; raises ``SelectionError`` for what is no id.
    """
    spec, trainings, classes = parse_task(task), test["trainings"], test.get("classes", ["all"])
    for training in trainings:
        if parse_id(training)[0] != spec.family.population:
            return f"test training {training}: {spec.name} is tested on the population {spec.family.population}"
        side = split_of(training) if spec.fold is None else fold_split_of(training, spec.fold)
        if side != "test" and not folds:
            return f"test training {training} belongs to {side} in {spec.name}, by its id"
    n_items = spec.family.last(spec.target, "test") * (N_OFFICIAL if spec.family.part and not spec.family.vote else 1)
    if odd := [n for n in test["n_items"] if n != n_items]:
        return f"test.n_items: {spec.name} has {n_items} a training, got {odd[0]}"
    if not spec.family.regression and (found := _class_problem(spec, classes)):
        return found
    least = 1 if folds or spec.fold is not None else MIN_TRAININGS
    for fold in range(folds or 1):
        n = sum(fold_split_of(training, fold) == "test" for training in trainings) if folds else len(trainings)
        if n < least * len(classes) or n % len(classes):
            place = f" of fold {fold}" if folds else ""
            return f"{n} test trainings{place}: {spec.name} needs at least {least} a class, equally many of {len(classes)}"
    rows = {sum(row) for confusion in confusions for row in confusion}
    balanced = len(trainings) * n_items // len(classes)
    return f"confusion: {spec.name} has {balanced} items a class, got {sorted(rows)}" if rows - {balanced} else None


def _class_problem(spec: TaskSpec, classes: Sequence[str]) -> str | None:
    if spec.target == "dataset":  # image sets have any names
        good = len(set(classes)) == len(classes) > 1
        return None if good else f"classes of {spec.name} must be two image sets or more, each once, got {classes}"
    expected = [str(value) for value in CLASSES[spec.target]]
    return f"classes of {spec.name} are {', '.join(expected)}, got {classes}" if list(classes) != expected else None
