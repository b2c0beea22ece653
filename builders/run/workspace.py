"""The hidden folder of an unfinished build: lock, plan, images and finished trainings that wait for their shard.

The token of a running engine is a file in the staging folder that its workers have to see before they write there. It shows
that a worker on another machine sees the same folder, and keeps a worker that outlived its build (the parent was killed)
from writing into a later one. Its name is new every time, so that no cache of a network file system knows it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from nws_data.atomic import remove_stale, write_bytes
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import Manifest
from nws_data.format.plan import plan_differences
from nws_data.format.records import TrainingRecord
from nws_data.lock import locked

FOLDER = ".build"
_LOCK, _PLANS, _TOKEN = "lock", "plans.json", "token-"


class Workspace:
    """``<out>/.build``. Open it with :func:`open_workspace`."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self.staging = self.folder / "trainings"
        self.images = self.folder / "images"

    def claim_plan(self, population: str, identity: dict[str, Any]) -> None:
        """Record what is being built, or check that an earlier, unfinished build here is the same.

        Raises:
            BuildError: another plan; names the options that differ.
        """
        plans = self._plans()
        staged = any(self.staging.glob(f"{population}-*.safetensors"))
        if staged and population not in plans:
            raise BuildError(
                f"{self.folder} holds trainings of {population}, and {_PLANS}, which says how they were made, is missing or "
                f"damaged; remove {self.folder} to train them again"
            )
        known = plans[population] if staged else identity  # else nothing was trained by the old plan
        if different := plan_differences(known, identity):
            raise BuildError(
                f"{self.folder.parent} holds an unfinished build of {population} with other options: "
                f"{'; '.join(different)}. Give the same options to go on, another --out, or remove {self.folder}"
            )
        plans[population] = identity
        write_bytes(self.folder / _PLANS, json.dumps(plans, indent=1).encode())

    def recorded_plan(self, stored: Manifest | None, population: str) -> dict[str, Any] | None:
        """Return the plan of a population's trainings, in the dataset or in an unfinished build; None without any."""
        if stored and population in stored.populations:
            return stored.populations[population].plan
        return self._plans().get(population) if any(self.staging.glob(f"{population}-*")) else None

    def _plans(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads((self.folder / _PLANS).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return {}

    def staged(self, population: str) -> dict[str, Path]:
        """Return the finished trainings by id, every byte checked; damaged ones are removed and trained again."""
        remove_stale(self.staging)
        found = {}
        for path in sorted(self.staging.glob(f"{population}-*.safetensors")):
            try:
                found[TrainingRecord.load(path).training] = path
            except FormatError:
                path.unlink()
        return found

    def path_of(self, training: str) -> Path:
        """Return where a finished training is staged."""
        return self.staging / f"{training}.safetensors"

    def clear(self) -> None:
        """Remove what builds put here, unless trainings wait: of another population, or beyond the number asked for.

        Anything else stays, and what a link leads to: ``.build`` is also what other tools call their folder.
        """
        if any(self.staging.glob("*.safetensors")):
            return
        for folder in (self.staging, self.images):
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
        remove_stale(self.folder)
        (self.folder / _PLANS).unlink(missing_ok=True)


@contextmanager
def open_workspace(out: Path) -> Iterator[Workspace]:
    """Claim the workspace of an output folder for this process. It goes in the end unless finished trainings wait in it.

    Raises:
        BuildError: another build runs in this folder, or it cannot be written.
    """
    workspace, refusal = Workspace(out), f"another build runs in {out}; wait for it or choose another --out"
    try:
        with ExitStack() as stack:
            try:
                workspace.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(workspace.folder / _LOCK, refusal))
                stack.callback(workspace.clear)
                workspace.staging.mkdir(exist_ok=True)
                for old in workspace.staging.glob(f"{_TOKEN}*"):
                    old.unlink(missing_ok=True)  # workers that outlived a killed build stop writing here
            except (FileNotFoundError, FileExistsError) as error:  # a build that ends now removed the folder
                raise BuildError(refusal) from error
            except OSError as error:
                raise BuildError(f"{out} cannot be used as output folder: {error.strerror}; choose another --out") from error
            yield workspace
    finally:
        for folder in (workspace.folder, out):
            with suppress(OSError):  # not empty: something waits there, or the next build has begun
                folder.rmdir()


@contextmanager
def staging_token(staging: Path) -> Iterator[str]:
    """Write a new token and yield its name; it goes in the end. Raises ``BuildError``."""
    name = _TOKEN + secrets.token_hex(8)
    write_bytes(staging / name, b"")
    try:
        yield name
    finally:
        (staging / name).unlink(missing_ok=True)


def appears(path: Path, patience_s: float) -> bool:
    """Whether a file is there, or comes up within ``patience_s`` seconds (network file systems lag)."""
    deadline = time.monotonic() + patience_s
    while not path.exists():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True
