"""What a run ran on: hardware without names of machines, versions, and the commit of the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nws_data
from nws_data.machine import processor, usable_cores

CHECKOUT = Path(__file__).resolve().parents[3]
RESULTS = "benchmarks/results"
"""Where results are kept in the checkout: writing one does not change the code that the next run uses."""
PACKAGES = ("torch", "numpy", "scikit-learn", "lightning", "torchmetrics")


def environment() -> dict[str, Any]:
    """Return the fields ``hardware``, ``versions`` and ``commit`` of a result file."""
    import torch

    hardware = {
        "processor": processor("model name") or platform.machine(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
    versions = {"python": platform.python_version(), "nws_data": nws_data.__version__}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # such as lightning: not every method needs it
            versions[name] = version(name)
    return {"hardware": hardware, "versions": versions, "commit": commit()}


def commit() -> dict[str, Any] | None:
    """Return the checkout's commit and whether tracked files other than results differ from it; None outside git."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return {"id": head, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":!{RESULTS}"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
