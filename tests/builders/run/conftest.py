"""A handful of jobs on the digits, and what the trainer makes of them in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builders.plan.jobs import Job
from builders.run.worker import WorkerSettings
from tests.builders.conftest import planned


@pytest.fixture
def jobs() -> list[Job]:
    """Three jobs of five trainings in all."""
    sizes = [(planned(0), planned(1), planned(2)), (planned(4, width_fc=128),), (planned(3, activation="tanh"),)]
    return [Job(trainings) for trainings in sizes]


@pytest.fixture
def settings(bank, tmp_path) -> WorkerSettings:
    """Settings with an empty staging folder."""
    staging = tmp_path / "build" / "trainings"
    staging.mkdir(parents=True)
    return WorkerSettings(bank.folder, staging, 19, "float32", "cpu", "native")


@pytest.fixture
def staged(settings) -> Callable[[], set[str]]:
    """Return a function that lists the staged trainings."""

    def listed() -> set[str]:
        return {path.stem for path in Path(settings.staging).glob("*.safetensors")}

    return listed
