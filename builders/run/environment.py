"""What has to be equal on all machines of a build, so that a training gives the same bits wherever it runs."""

from __future__ import annotations

from builders.compute.compute_path import path_of
from builders.run.worker import WorkerSettings


def compute_path_of(settings: WorkerSettings) -> str:
    """Return this process's path on the build's device; raises ``BuildError`` where there is no such device."""
    return path_of(settings.backend, settings.precision)
