"""``nws bench submit``: from result files, or from prediction files alone, to a checked entry; and ``nws bench entries``."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nws_data
from baselines.registry import METHODS
from benchmarks.leaderboard.files.against_data import prediction_names
from benchmarks.leaderboard.files.formats import interval_text, unit_of, value_text
from benchmarks.leaderboard.files.results import PREDICTIONS, SOURCE, Result, ResultError, SeedRun, main_metric
from benchmarks.leaderboard.runs.environment import environment
from benchmarks.leaderboard.submission.entry import (
    FILE,
    MAX_NBYTES,
    PREDICTIONS_FOLDER,
    Entry,
    EntryError,
    check_entry,
    check_words,
    has_data,
)
from benchmarks.leaderboard.submission.fields import TEXTS
from nws_data.atomic import make_folder, write_bytes
from nws_data.format.untrusted import read_file
from nws_data.hashing import file_sha256
from nws_data.tasks.predictions import Predictions
from nws_data.tasks.task import load_task
from nws_data.terminal import align, plain, say

HERE = "here"
"""Of the hardware: this machine."""

_HARDWARE = re.compile(r"([^;]{1,100}); *(\d{1,5}) cores?; *(\d{1,6}) GB(?:; *([^;]{1,100}))?")

_ELSEWHERE = {"method": "how the board names it", "fit_seconds": "of one seed", "hardware": "'here', or where it ran"}
_DEFAULT = Path("nws")


def submit(options: argparse.Namespace) -> int:
    """Write an entry and say what to do with it; raises ``NWSError``, and nothing is written then."""
    told = [name for name in (*_ELSEWHERE, "parameters") if getattr(options, name) is not None]
    if options.results:
        if told:
            raise EntryError(f"--{told[0].replace('_', '-')} is of prediction files without result files; leave it away")
        found = with_files(options.results, options.predictions)
        data = options.data or (_DEFAULT if all(has_data(result, _DEFAULT) for result, _ in found.values()) else None)
    else:
        missing = [f"--{n.replace('_', '-')} ({about})" for n, about in _ELSEWHERE.items() if getattr(options, n) is None]
        if not options.predictions or missing:
            needs = ", ".join([*([] if options.predictions else ["--predictions FILE..."]), *missing])
            raise EntryError(f"give result files of nws bench run; or of a method that ran elsewhere also {needs}")
        data = options.data or _DEFAULT
        own = {"method": options.method, "fit_s": options.fit_seconds, "n_parameters": options.parameters}
        found = results_of(options.predictions, data, hardware=options.hardware, **own)
    name = options.name or next(iter(found.values()))[0].method.replace(":", ".")
    texts = {field: getattr(options, field) for field in TEXTS}
    folder, checked = write_entry(found, texts, name, options.out, data)
    seen = f"checked on {data}" if data else "not checked on data: none here is of that digest, give it by --data"
    board = folder.parent.parent
    say("\n".join(_table(checked)))
    say(
        f"Entry: {folder}\n{seen}. Next: nws bench board {board}, commit {folder} and {board}/board.*, and open a pull "
        "request; docs/submitting.md says what is looked at there"
    )
    return 0


def entries(options: argparse.Namespace) -> int:
    """Check all entries of a folder and print how; returns 1 where one is refused, else 0."""
    good: list[tuple[Result, str]] = []
    refused: list[str] = []
    for path in sorted(path for path in options.folder.glob("*") if path.is_dir()):
        try:
            good += check_entry(path, options.data)
        except ResultError as error:
            refused.append(f"{path.name}: {error}")
    say("\n".join(_table(good)) if good else f"no sound entry in {options.folder}")
    for reason in refused:
        say(f"refused: {plain(reason)}", error=True)
    return 1 if refused else 0


def _table(checked: Sequence[tuple[Result, str]]) -> list[str]:
    rows = [["task", "method", "score [95 %]", "unit", "from"]]
    for result, how in checked:
        found, kind = main_metric(result), result.kind
        score = f"{value_text(found['mean'], kind)} {interval_text(found['low'], found['high'], kind)}"
        unit = "%" if kind == "classification" else unit_of(kind)
        rows.append([result.task + (" (folds)" if result.folds else ""), result.method, score, unit, how])
    return align(rows)


def results_of(
    predictions: Sequence[Path], data: Path, *, method: str, fit_s: float, hardware: str, n_parameters: int | None = None
) -> dict[Path, tuple[Result, list[Path]]]:
    """Score prediction files of a method that was run elsewhere; those of one task are its seeds, in the order given.

    ``hardware`` is ``here`` or ``PROCESSOR; N cores; M GB[; GPU]``, ``fit_s`` the seconds of one fit. Returns the results by
    their path, each with its files.

    Raises:
        EntryError: a name that the registry has or the board cannot show, or hardware that cannot be read.
        PredictionError: what is no prediction file, or predictions that are not exactly those of their task on ``data``.
    """
    if method in METHODS or not re.fullmatch(r"[\w.+=-]{1,60}", method, re.ASCII):
        raise EntryError(
            f"--method must be at most 60 letters, digits and _ . + = -, and no registered name, got {method!r}"
        )
    of_task: dict[str, list[Path]] = {}
    for path in predictions:
        of_task.setdefault(Predictions.load(path).task, []).append(path)
    machine, found = _hardware(hardware), {}
    for name, paths in of_task.items():
        task = load_task(name, data)
        runs = tuple(
            SeedRun(
                seed=seed,
                score=task.evaluate(path),
                n_parameters=n_parameters,
                fit_s=fit_s,
                predict_s=0.0,
                predictions_sha256=(file_sha256(path),),
            )
            for seed, path in enumerate(paths)
        )
        result = Result(
            task=task.name,
            official=task.official,
            folds=0,
            method=method,
            options={SOURCE: PREDICTIONS},
            data_digest=task.data_digest,
            runs=runs,
            hardware=machine,
            versions={"nws_data": nws_data.__version__},
            commit=None,
            finished_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        found[result.path] = result, paths
    return found


def _hardware(text: str) -> dict[str, Any]:
    if text == HERE:
        return environment()["hardware"]
    if not (match := _HARDWARE.fullmatch(text)):
        raise EntryError(f"--hardware must be {HERE!r} or 'PROCESSOR; N cores; M GB[; GPU]', got {text[:60]!r}")
    cores, memory = int(match[2]), int(match[3]) * 10**9
    return {"processor": match[1], "cores": cores, "threads": cores, "memory_bytes": memory, "gpu": match[4]}


def with_files(results: Sequence[Path], predictions: Sequence[Path]) -> dict[Path, tuple[Result, list[Path]]]:
    """Read result files and find the prediction files of each by their SHA-256.

    Raises:
        EntryError: a prediction file of none of the results, or some but not all of a result.
        ResultError: a file that is no sound result.
    """
    by_sha256 = {file_sha256(path): path for path in predictions}
    found, used = {}, set()
    for path in results:
        result = Result.load(path)
        wanted = [sha256 for run in result.runs for sha256 in run.predictions_sha256]
        there = [by_sha256[sha256] for sha256 in wanted if sha256 in by_sha256]
        if there and len(there) < len(wanted):
            raise EntryError(f"{path}: {len(there)} of its {len(wanted)} prediction files were given; give all or none")
        used |= {*there}
        found[result.path] = result, there
    if odd := [path for path in predictions if path not in used and by_sha256[file_sha256(path)] not in used]:
        raise EntryError(f"{odd[0]} is no file of these results, by its SHA-256; nws bench run --predictions keeps them")
    return found


def write_entry(
    found: Mapping[Path, tuple[Result, list[Path]]], texts: Mapping[str, str], name: str, out: Path, data: Path | None
) -> tuple[Path, list[tuple[Result, str]]]:
    """Write an entry into a folder of entries and check it there; returns its folder and what :func:`check_entry` returns.

    ``found`` has results by their path, with their prediction files; ``texts`` what a person says, by the fields of
    ``TEXTS``; ``data`` is the dataset, to check and score on, or None. Raises ``ResultError`` for a missing or bad text, an
    entry that is there, or what the check refuses; nothing is written then.
    """
    check_words(name, texts)
    if (out / name).exists():
        raise EntryError(f"{out / name} is there; remove it, or give the entry another --name")
    make_folder(out)
    with tempfile.TemporaryDirectory(prefix=".entry-", dir=out) as temporary:
        folder = Path(temporary, name)
        files: dict[str, str] = {}
        for result, predictions in found.values():
            paths = [result.save(folder)]
            for target, source in zip(prediction_names(result) if predictions else (), predictions, strict=True):
                paths.append(folder / PREDICTIONS_FOLDER / target)
                write_bytes(paths[-1], _small(source))
            files |= {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
        write_bytes(folder / FILE, Entry(name=name, files=files, **texts).to_toml().encode())
        checked = check_entry(folder, data)
        os.replace(folder, out / name)
    return out / name, checked


def _small(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_NBYTES:
        raise EntryError(
            f"{path} has {size / 1e6:.1f} MB, a file of the repository at most {MAX_NBYTES / 1e6:g}: hand in the results "
            "without it, and keep it where it can be fetched"
        )
    return read_file(path, MAX_NBYTES)
