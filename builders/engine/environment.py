"""What has to be equal on all machines of a build, so that a training gives the same bits wherever it runs."""

from __future__ import annotations

from builders.training.compute_path import compute_path
from nws_data.errors import BuildError


def compute_path_of(device: str) -> str:
    """Return this process's path on a device; raises ``BuildError`` for a device that builds cannot use."""
    if device != "cpu":
        raise BuildError(f"engine ray has no path for device {device}; use --device cpu")
    return compute_path()
