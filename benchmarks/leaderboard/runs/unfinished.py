"""Finished fits of unfinished runs, kept in a hidden folder beside the results: an interrupted run goes on with them."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.files.json_text import digest, readable
from benchmarks.leaderboard.files.results import SeedRun, kind_of, safe_name, seed_run_from_dict, seed_run_to_dict
from nws_data.atomic import make_folder, write_bytes
from nws_data.errors import BuildError, NWSError
from nws_data.lock import locked
from nws_data.terminal import say

_HELD = "another process works on the same run"


class Unfinished:
    """The fits of one run, in a folder of its own that no other run shares, so that none is removed under another.

    ``path`` is the result file's place in the folder ``out`` of results. Fits of another environment, such as of an older
    commit, do not count.
    """

    def __init__(self, out: Path, path: Path, environment: Mapping[str, Any]) -> None:
        self.path, self.environment = path, dict(environment)
        self.folder = out / f".unfinished-{path.parent}--{path.stem}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process works on this run, and keep others waiting while the block runs."""
        make_folder(self.folder.parent)
        for attempt in itertools.count():
            try:
                with locked(self.folder.with_name(f"{self.folder.name}.lock"), _HELD):
                    yield
                return
            except BuildError as error:
                if str(error) != _HELD:
                    raise
            if attempt == 0:
                say(f"{self.folder.name.removeprefix('.unfinished-')}: waiting, {_HELD}", error=True)
            time.sleep(0.2)

    def save(self, task: str, run: SeedRun) -> None:
        """Keep a fit on a task; raises ``BuildError`` where nothing can be written."""
        content = {"environment": self.environment, "kind": kind_of(run.score), "run": seed_run_to_dict(run, whole=True)}
        content["sha256"] = digest(content)
        write_bytes(self._file(task, run.seed), (readable(content) + "\n").encode())
        shutil.rmtree(self.checkpoints(task, run.seed), ignore_errors=True)

    def load(self, task: str, seed: int) -> SeedRun | None:
        """Return a kept fit; None where there is none, or it is damaged or of another environment: it is fitted again."""
        try:
            content = json.loads(self._file(task, seed).read_bytes())
            if content["environment"] != self.environment or content["sha256"] != digest(content):
                return None
            run = seed_run_from_dict(content["run"], {}, content["kind"])
        except (OSError, NWSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return run if run.seed == seed else None

    def checkpoints(self, task: str, seed: int) -> Path:
        """Return the folder where a method may keep what it needs to go on with a fit; it goes when the fit is saved.

        Another environment has another one: nothing goes on with what older code wrote.
        """
        return self.folder / f"{safe_name(task)}--seed{seed}--{digest(self.environment)[:8]}"

    def remove(self) -> None:
        """Remove the kept fits of this run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, task: str, seed: int) -> Path:
        return self.folder / f"{safe_name(task)}--seed{seed}.json"
