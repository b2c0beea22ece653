"""What figures that fit a method share: the folds that stand in for a task, and predictions that are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile

import numpy as np

from baselines.method import Method
from baselines.registry import make_method, options_of, resolve_options
from benchmarks.findings.source import Source
from benchmarks.leaderboard.files.results import safe_name
from benchmarks.leaderboard.runs.environment import commit
from benchmarks.leaderboard.runs.plans import method_label, source_file
from nws_data.atomic import atomic_file
from nws_data.errors import TaskNotAvailableError
from nws_data.hashing import file_sha256, sha256_of
from nws_data.tasks.table import parse_task
from nws_data.tasks.task import Task, load_task

Predict = Callable[[Method, Task], dict[str, Any]]


def test_sets(name: str, root: Path, enough: int = 1) -> list[Task]:
    """Return a task that has at least so many test trainings, else its five folds; raises ``TaskNotAvailableError``."""
    with suppress(TaskNotAvailableError):
        task = load_task(name, root)
        if sum(task.counts["test"].values()) >= enough:
            return [task]
    return [load_task(fold.name, root) for fold in parse_task(name).folds()]


def predicted(source: Source, figure: str, task: Task, predict: Predict) -> dict[str, Any]:
    """Return what ``predict`` makes of the source's method, fitted on a task; from the kept file where that is there."""
    name = f"{figure}-{safe_name(f'{task.name}-{method_label(source.method)}')}-{_key(source.method, task)}"
    with TemporaryDirectory() as temporary:
        folder = (source.kept or Path(temporary)) / name
        path = folder.with_name(f"{name}.npz")
        with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(path, allow_pickle=False) as kept:
            return dict(kept)
        given: dict[str, Any] = {"folder": source.checkpoints or folder} if "folder" in options_of(source.method) else {}
        method = make_method(source.method, **given)
        method.fit(task)
        found = predict(method, task)
        with atomic_file(path) as stream:
            np.savez_compressed(stream, **found)
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _key(method: str, task: Task) -> str:
    """Return a digest of all that decides a prediction."""
    file, options = source_file(method), {key: str(value) for key, value in resolve_options(method, {}).items()}
    code = [commit(), file_sha256(file)]
    return sha256_of(json.dumps([task.data_digest, task.name, method, options, code]).encode())[:12]
