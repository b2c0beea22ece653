"""Result files: what one method did on one task with several seeds, with the counts behind every number.

A file is JSON, described field by field in :data:`FIELDS`. Everything that follows from the rest (means, intervals, the
command, the checksum) is computed again when a file is read, and a file in which it differs is refused.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import METHODS
from benchmarks.leaderboard.files.checks import problem, test_problem
from benchmarks.leaderboard.files.json_text import difference, digest, readable
from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, NWSError
from nws_data.format.untrusted import read_file
from nws_data.tasks.metrics import Interval, Sums, clustered_accuracy, clustered_regression
from nws_data.tasks.scores import ClassificationScore, RegressionScore, Score

FORMAT = "nws-result"
FORMAT_VERSION = 1
FIELDS = {
    "format": "nws-result",
    "format_version": "1",
    "task": "the task's canonical name",
    "kind": "classification or regression",
    "official": "whether the task is one of the official ones, tested on its own test split",
    "folds": "0, or 5: the task's unofficial folds, each tested once, their counts pooled for every seed",
    "method": "registered name, or the class as package.module:Class or file.py:Class",
    "options": "every option with its value, but those that the method's name fixes and those that are paths; of a method "
    "that is not registered also source, 12 hexadecimal digits of the SHA-256 of the file that holds its class, or "
    "predictions where only prediction files were handed in: fit_s and hardware are then as told, predict_s is 0",
    "n_parameters": "fitted values, of the largest fit; null where the notion is void",
    "data_digest": "of the task's population, as nws info shows it",
    "seeds": "of the method, in order",
    "summary": "over the seeds: mean, standard deviation (n - 1; null of one seed), 95 % interval of the mean; chance",
    "test": "what all seeds share: test trainings, items of each, classes or sums of targets",
    "runs": "for each seed: score, seconds to fit and to predict, parameters, SHA-256 of its prediction files",
    "hardware": "processor, cores that the process may use, threads of torch, memory in bytes, GPU or null",
    "versions": "of Python and of packages that compute",
    "commit": "of the checkout, and whether its tracked files differed from it; null outside git",
    "command": "runs this again, on a dataset in the folder nws",
    "finished_at": "UTC",
    "sha256": "of the canonical JSON (keys sorted, no spaces) of all other fields",
}
"""Every field of a result file."""

_FOREIGN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What foreign values may raise on their way through the computations."""

SOURCE = "source"
"""The key among the options that tells versions of an unregistered method apart."""

PREDICTIONS = "predictions"
"""Its value where a result was computed from prediction files, without running the method."""

_SCORES: dict[str, type[Score]] = {"classification": ClassificationScore, "regression": RegressionScore}
_SHARED = ("classes", "chance", "trainings", "n_items", "sum_target", "sum_target2")
"""Fields of a score that belong to the task's test set, not to the method."""


class ResultError(NWSError, ValueError):
    """A result file that is damaged, tampered with, of another version, or twice there."""


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One fit with one seed and what came of it; of a task with folds the five fits together."""

    seed: int
    score: Score
    n_parameters: int | None
    fit_s: float
    predict_s: float
    predictions_sha256: tuple[str, ...]  # of each test set's prediction file


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result file. See :data:`FIELDS`. Seeds are 0 to n - 1, or none could be chosen for what they give."""

    task: str
    official: bool
    folds: int
    method: str
    options: dict[str, Any]
    data_digest: str
    runs: tuple[SeedRun, ...]
    hardware: dict[str, Any]
    versions: dict[str, str]
    commit: dict[str, Any] | None
    finished_at: str

    def __post_init__(self) -> None:
        """Raise ``ResultError`` for other seeds."""
        if self.seeds != tuple(range(len(self.runs))):
            raise ResultError(f"seeds must be 0 to {len(self.runs) - 1} in order, got {self.seeds[:10]}")

    @property
    def kind(self) -> str:
        """``classification`` or ``regression``."""
        return kind_of(self.runs[0].score)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def n_distinct(self) -> int:
        """Seeds whose counts differ: 1 of a method that draws nothing, and of one run that was copied."""
        return len({json.dumps(run.score.to_dict(), sort_keys=True) for run in self.runs})

    @property
    def test(self) -> dict[str, Any]:
        """What the seeds share: the fields of their scores that belong to the task's test set."""
        return test_fields(self.runs[0].score)

    @property
    def n_parameters(self) -> int | None:
        """Fitted values of the largest fit."""
        return max((run.n_parameters for run in self.runs if run.n_parameters is not None), default=None)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Mean, standard deviation and interval over the seeds of every metric, and chance (None of a regression).

        The interval is that of the mean over seeds, clustered by training: it takes the mean of each training's counts. Of
        Kendall's tau, which no sums give, there is none.
        """
        scores = [run.score for run in self.runs]
        intervals: dict[str, Interval | None]
        if isinstance(scores[0], ClassificationScore):
            intervals = {"accuracy": clustered_accuracy(np.asarray(scores[0].n_items), mean_right(scores))}
        else:
            of_sums = clustered_regression(mean_sums(scores))
            intervals = dict(zip(("r2", "mae"), of_sums, strict=True)) | {"kendall_tau": None}
        found: dict[str, Any] = {"chance": getattr(scores[0], "chance", None)}
        for name, interval in intervals.items():
            values = [float(getattr(score, name)) for score in scores]
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            found[name] = {"mean": float(np.mean(values)), "std": spread}
            if interval is not None:
                found[name] |= {"low": interval.low, "high": interval.high}
        return found

    @property
    def from_predictions(self) -> bool:
        """Whether it was computed from prediction files alone: nobody here has run the method."""
        return self.method not in METHODS and self.options.get(SOURCE) == PREDICTIONS

    @property
    def command(self) -> str:
        """The command that gives this result; of one from predictions alone, the command that scores the first seed's."""
        if self.from_predictions:
            name = prediction_name(self.task, self.folds, self.method, self.options, self.task, 0)
            return shlex.join(["nws", "score", name, "--data", "nws"])
        words = ["--task", self.task, "--method", self.method, "--seeds", str(len(self.runs)), *["--folds"][: self.folds]]
        given = {key: value for key, value in self.options.items() if key != SOURCE or self.method in METHODS}
        if given:
            words += ["--option", *(f"{key}={value}" for key, value in given.items())]
        return shlex.join(["nws", "bench", "run", *words, "--data", "nws"])

    @property
    def path(self) -> Path:
        """The file's place in a folder of results."""
        return path_of(self.task, self.folds, self.method, self.options, self.data_digest)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields of the file, in the order of :data:`FIELDS`."""
        own = {"format": FORMAT, "format_version": FORMAT_VERSION, "runs": [seed_run_to_dict(run) for run in self.runs]}
        content = {name: own.get(name) or as_json(getattr(self, name)) for name in FIELDS if name != "sha256"}
        return content | {"sha256": digest(content)}

    def save(self, folder: Path) -> Path:
        """Write the file into a folder of results, complete or not at all; return its path.

        Raises:
            ResultError: it would not be read again, by the checks of :meth:`load`; nothing is written.
            BuildError: the system refuses.
        """
        try:
            text = (readable(self.to_dict()) + "\n").encode()
        except _FOREIGN as error:
            raise ResultError(f"cannot be written as a result ({error!r})") from error
        Result.from_dict(json.loads(text))
        path = folder / self.path
        write_bytes(path, text)
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a file and compute all its numbers again; raises ``ResultError`` with the reason."""
        try:
            content = json.loads(read_file(path))
        except (OSError, ValueError, RecursionError, FormatError) as error:
            raise ResultError(f"not readable as JSON ({error})") from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Any) -> Result:
        """Build from the fields of a file and compute all its numbers again; raises ``ResultError`` with the reason."""
        try:
            _check_frame(content)
            test, kind = content["test"], content["kind"]
            result = cls(
                runs=tuple(seed_run_from_dict(values, test, kind) for values in content["runs"]),
                **{name: content[name] for name in ("task", "official", "folds", "method", "options", "data_digest")},
                **{name: content[name] for name in ("hardware", "versions", "commit", "finished_at")},
            )
            found = difference({**content, "sha256": ""}, {**result.to_dict(), "sha256": ""})
            confusions = [getattr(run.score, "confusion", ()) for run in result.runs]
            found = found or test_problem(result.task, result.folds, result.test, confusions)
        except ResultError:
            raise
        except NWSError as error:
            raise ResultError(str(error)) from error
        except _FOREIGN as error:
            raise ResultError(f"not a readable result ({error!r})") from error
        if found:
            raise ResultError(found)
        return result


def kind_of(score: Score) -> str:
    """Return ``classification`` or ``regression``."""
    return "classification" if isinstance(score, ClassificationScore) else "regression"


def safe_name(text: str) -> str:
    """Return a text as the name of a file that is not hidden: what is no letter, digit or ``_.@=+-`` becomes a point."""
    return re.sub(r"[^\w.@=+-]", ".", text, flags=re.ASCII).lstrip(".")


def path_of(task: str, folds: int, method: str, options: Mapping[str, Any], data_digest: str) -> Path:
    """Return the place of a run's file in a folder of results, such as ``global.optimizer/majority-0123abcd.json``.

    Task, folds, method, options and dataset decide it: what makes a run the same run, with more or fewer seeds.
    """
    key = digest({"key": [task, folds, method, dict(options), data_digest]})
    return Path(safe_name(task) + (".folds" if folds else ""), f"{safe_name(method)}-{key[:8]}.json")


def prediction_name(task: str, folds: int, method: str, options: Mapping[str, Any], test_set: str, seed: int) -> str:
    """Return the name of a fit's prediction file, such as ``global.optimizer--majority-0123abcd--seed0.parquet``."""
    return f"{safe_name(test_set)}--{path_of(task, folds, method, options, '').stem}--seed{seed}.parquet"


def _check_frame(content: Any) -> None:
    """Raise ``ResultError`` unless format, version, fields, checksum, plain fields and task are right."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ResultError(f"not a result file: its format is not {FORMAT!r}")
    if content.get("format_version") != FORMAT_VERSION:
        raise ResultError(
            f"format version {content.get('format_version')!r}, this nws reads version {FORMAT_VERSION}; run the task again"
        )
    if odd := set(content) ^ set(FIELDS):
        raise ResultError(f"unknown or missing fields: {', '.join(sorted(odd))}")
    try:
        checksum = digest(content)
    except ValueError as error:
        raise ResultError(f"a number is NaN or infinite ({error})") from error
    if content["sha256"] != checksum:
        raise ResultError(
            f"checksum: the content gives {checksum[:12]}..., the file says {str(content['sha256'])[:12]}...: "
            "it was changed after it was written; run the task again"
        )
    if found := problem(content):
        raise ResultError(found)


def seed_run_to_dict(run: SeedRun, whole: bool = False) -> dict[str, Any]:
    """Return a run as JSON values; its score without the fields that all seeds share, unless ``whole``."""
    score = {name: value for name, value in run.score.to_dict().items() if whole or name not in _SHARED}
    return as_json({field.name: getattr(run, field.name) for field in fields(run)} | {"score": score})


def seed_run_from_dict(values: Mapping[str, Any], test: Mapping[str, Any], kind: str) -> SeedRun:
    """Build a run from :func:`seed_run_to_dict` and the shared fields; raises an ``NWSError`` for numbers that differ."""
    score = _SCORES[kind].from_dict({**values["score"], **test})
    return SeedRun(**{**values, "score": score, "predictions_sha256": tuple(values["predictions_sha256"])})


def mean_right(scores: Sequence[Score]) -> np.ndarray:
    """Return how many items of each training were right, float64 ``(trainings,)``: the mean over seeds."""
    return np.mean([score.n_right for score in scores if isinstance(score, ClassificationScore)], axis=0)


def mean_sums(scores: Sequence[Score]) -> Sums:
    """Return the sums of each training that metrics of regression need: means over seeds, but ``n``."""
    sums = [score.sums for score in scores if isinstance(score, RegressionScore)]
    return Sums(sums[0].n, *(np.mean(values, axis=0) for values in list(zip(*sums, strict=True))[1:]))


def test_fields(score: Score) -> dict[str, Any]:
    """Return the fields of a score that belong to the test set, as JSON values."""
    return {name: value for name, value in as_json(score.to_dict()).items() if name in _SHARED}


def as_json(value: Any) -> Any:
    """Return values as JSON gives them back, such as tuples as lists; raises ``ValueError`` for NaN and infinity."""
    return json.loads(json.dumps(value, allow_nan=False))


def main_metric(result: Result) -> dict[str, Any]:
    """Return mean, std, low and high of a result's accuracy or R²; std is None of seeds that are one fit."""
    found: dict[str, Any] = result.summary["accuracy" if result.kind == "classification" else "r2"]
    return found | {"std": found["std"] if result.n_distinct > 1 else None}
