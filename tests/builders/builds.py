"""Builds of a few trainings: their options, a cache of finished ones, commands that tests interrupt, comparison."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from dataclasses import asdict, fields
from pathlib import Path

from filelock import FileLock

from builders.build import build
from builders.compute.native.library import load_library
from builders.config import BuildConfig
from builders.images.prepare import ImageOptions
from nws_data.format.records import PROVENANCE, TrainingRecord
from tests.conftest import CACHE, cached_folder, made_once
from tests.processes import Process, nws

# The first seven fixed and four random trainings have batches of at most 64, so that few images are enough, and these random
# ones are among the smallest architectures.
SEED = 805_699
IMAGES = ImageOptions(sources=("digits",), n_train=120, n_test=50)
_OPTIONS = {"images": IMAGES, "epoch_cap": 19, "seed": SEED}
_BUILDS = cached_folder("builds", "nws_data", "builders")


def config(out: Path, fixed: int = 4, **changes) -> BuildConfig:
    """The options of a build that takes seconds."""
    return BuildConfig(**({"out": out, "trainings": {"fixed": fixed}, "workers": 2, **_OPTIONS} | changes))


def built(fixed: int = 4, **changes) -> Path:
    """Return the dataset of :func:`config`, built once for all tests and runs of the same code: never change its files."""
    options = repr(config(Path("nws"), fixed, **changes))

    def make(folder: Path) -> None:
        with FileLock(CACHE / "kernels"):  # several processes of a run begin with a build: one of them compiles
            load_library()
        reports = build(config(folder / "nws", fixed, **changes))
        (folder / "reports.json").write_text(json.dumps([asdict(report) for report in reports]))

    return made_once(_BUILDS / hashlib.sha256(options.encode()).hexdigest()[:16], make) / "nws"


def start_build(out: Path, *more: str, trainings: int = 4, seed: int = SEED, workers: int = 1, nice: int = 5) -> Process:
    """Start the build of :func:`config` as a command, nice: on a busy machine the test must notice what happens in it."""
    options = ["--population", "fixed", "--trainings", str(trainings), "--images", "digits", "--train-images", "120",
               "--test-images", "50", "--epoch-cap", "19", "--seed", str(seed), "--workers", str(workers)]  # fmt: skip
    return nws("build", *options, "--out", str(out), *more, nice=nice)


def wait_for(process: Process, pattern: str, folder: Path, n: int = 1) -> None:
    """Wait until a folder holds n files of that pattern; fail when the process ends before."""
    deadline = time.monotonic() + 240
    while len(list(folder.glob(pattern))) < n:
        assert not process.ended(), process.printed()
        assert time.monotonic() < deadline, f"no {pattern} in four minutes"
        time.sleep(0.01)


def interrupt(process: Process, name: str = "SIGINT") -> None:
    """Send a signal to the build and its workers, as a terminal sends Ctrl-C; the build must end as it says."""
    os.killpg(process.pid, getattr(signal, name))
    status, printed = process.wait(120), process.printed()
    assert status == 128 + getattr(signal, name), printed
    assert "run the same command again" in printed and "Traceback" not in printed


def assert_same(a: TrainingRecord, b: TrainingRecord) -> None:
    """Every field but the provenance is equal, the weights bit for bit."""
    for field in fields(TrainingRecord):
        if field.name == "weights":
            assert a.weights.tobytes() == b.weights.tobytes()
        elif field.name not in PROVENANCE:
            assert getattr(a, field.name) == getattr(b, field.name), field.name
