"""The hidden folder of an unfinished build: lock, plan, images and finished trainings that wait for their shard."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nws_data.errors import BuildError, FormatError
from nws_data.storage.atomic import remove_stale, write_bytes
from nws_data.storage.plan import plan_differences
from nws_data.storage.records import TrainingRecord

FOLDER = ".build"
_PLANS = "plans.json"


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
        known = plans.setdefault(population, identity)
        if not any(self.staging.glob(f"{population}-*")):
            plans[population] = known = identity  # nothing was trained by the old plan
        if different := plan_differences(known, identity):
            raise BuildError(
                f"{self.folder.parent} holds an unfinished build of {population} with other options: "
                f"{'; '.join(different)}. Give the same options to go on, another --out, or remove {self.folder}"
            )
        write_bytes(self.folder / _PLANS, json.dumps(plans, indent=1).encode())

    def _plans(self) -> dict[str, dict[str, Any]]:
        """Return the recorded plans by population; raises ``BuildError`` when the file is damaged."""
        path = self.folder / _PLANS
        if not path.exists():
            return {}
        try:
            plans = json.loads(path.read_bytes())
        except ValueError:
            plans = None
        if not isinstance(plans, dict) or not all(isinstance(plan, dict) for plan in plans.values()):
            raise BuildError(f"{path} is damaged: remove {self.folder} and build again; trainings in it are lost")
        return plans

    def staged(self, population: str) -> dict[str, Path]:
        """Return the finished trainings by id, every byte checked; damaged ones are removed and start anew."""
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

    def remove_staged(self, trainings: Iterable[str]) -> None:
        """Forget trainings that stand in shards now."""
        for training in trainings:
            self.path_of(training).unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Remove the whole folder unless trainings wait in it: of another population, or beyond the number asked for."""
        if any(self.staging.glob("*.safetensors")):
            return
        shutil.rmtree(self.folder)
        out = self.folder.parent
        if not any(out.iterdir()):
            out.rmdir()


@contextmanager
def open_workspace(out: Path) -> Iterator[Workspace]:
    """Claim the workspace of an output folder for this process. It goes in the end unless finished trainings wait in it.

    Raises:
        BuildError: another build runs in this folder, or it cannot be written.
    """
    workspace = Workspace(out)
    try:
        workspace.staging.mkdir(parents=True, exist_ok=True)
        lock = open(workspace.folder / "lock", "w")  # noqa: SIM115 - held for the whole block
    except OSError as error:
        raise BuildError(f"{out} cannot be used as output folder: {error.strerror}; choose another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildError(f"another build runs in {out}; wait for it or choose another --out") from error
        try:
            yield workspace
        finally:
            workspace.remove_if_empty()
