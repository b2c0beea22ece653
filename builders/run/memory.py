"""How much memory a build takes at most, and how many workers fit into a limit.

A worker holds the interpreter with torch, one fleet (vectors, optimizer state, gradients, activations of a step), and the
snapshot buffers of its members, which hold 64 vectors each however many epochs a training takes. Where the limit is
tight the buffers stand in a file instead. The images are mapped from files: all workers share their pages.

The constants below are upper bounds of what was measured with torch 2.15 on Linux; ``python -m benchmarks.speed.memory``
and tests compare them with the kernel's accounting of real workers.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builders.compute.portable.fleet import fleet_size
from builders.plan.cost import conv_values
from builders.plan.fleet_shape import DTYPES, FleetShape
from builders.recipe.snapshots import CAPACITY
from nws_data.errors import BuildError
from nws_data.space.architecture import IMAGE_SHAPE
from nws_data.space.trajectory import N_SNAPSHOTS

_MB = 10**6
_PROCESS = 350 * _MB  # private pages of a process that has imported torch and the builders
_FORKED = 50 * _MB  # of one that was forked from a server that has imported torch; the server takes the above
_LIBRARIES = 300 * _MB  # pages of their files, which processes share
_PARENT = 550 * _MB  # the process of the command: it also reads and writes the dataset's tables
_SLOT_VECTORS = 9  # weights, gradients, optimizer state and its scratch, and the step's leaves with their gradients
_ACTIVATION_BYTES = {
    "float32": 22,
    "bfloat16": 12,
}  # a step's, for each value that a convolution puts out, backward included
_IMAGE_BYTES = 80  # of a batch for each pixel value: augmentation, one member at a time
_SHUFFLE_BYTES = 200  # for each training image: drawing an epoch's order
_WEIGHT_BYTES = 4
_SHARE = 0.8  # of the memory that is free: the limit unless one is given

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?([MGT]B)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class MemoryPlan:
    """How a build keeps its limit. All sizes in bytes."""

    n_workers: int
    spill: bool  # snapshot buffers stand in files
    worker: int  # at most, its own
    shared: int  # at most: libraries, images and the process of the command
    limit: int

    @property
    def limited(self) -> bool:
        """Whether there is a limit: none on a cluster unless one was given, nor without trainings."""
        return self.limit < sys.maxsize

    @property
    def total(self) -> int:
        """At most, all processes together."""
        return self.shared + self.n_workers * self.worker


def worker_bytes(
    shape: FleetShape,
    precision: str,
    backend: str,
    epoch_cap: int,
    *,
    n_images: int = 0,
    spill: bool = False,
    forked: bool = False,
) -> int:
    """Return an upper bound of a worker's own memory while it trains a fleet.

    Args:
        shape: of the fleet.
        precision: ``"float32"`` or ``"bfloat16"``.
        backend: ``"native"``, one network at a time, or ``"portable"``, as many as a fleet has slots.
        epoch_cap: bound on epochs; few epochs need fewer snapshots.
        n_images: training images of the largest set.
        spill: snapshot buffers stand in a file.
        forked: whether it shares PyTorch's memory with the others.
    """
    slots = 1 if backend == "native" else fleet_size(shape, DTYPES[precision])
    vector = _WEIGHT_BYTES * shape.architecture.n_weights
    kept = 1 if spill else min(epoch_cap, CAPACITY) + 1
    record = 3 * N_SNAPSHOTS * vector  # gathered, and as the bytes of its file
    images = slots * shape.batch_size
    step = images * conv_values(shape.architecture) * _ACTIVATION_BYTES[precision]
    batch = (shape.batch_size + 2 * images) * IMAGE_SHAPE[0] * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] * _WEIGHT_BYTES
    augmentation = shape.batch_size * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] * _IMAGE_BYTES
    vectors = slots * vector * (_SLOT_VECTORS + kept)
    process = _FORKED if forked else _PROCESS
    return process + vectors + record + step + batch + augmentation + n_images * _SHUFFLE_BYTES


def plan_memory(
    shapes: Iterable[FleetShape],
    *,
    precision: str,
    backend: str = "portable",
    epoch_cap: int,
    bank_bytes: int,
    n_images: int,
    workers: int,
    limit: int | None = None,
    forked: bool = False,
) -> MemoryPlan:
    """Return how many workers a limit allows, and whether their snapshots go into files so that it allows more.

    Args:
        shapes: of the build's fleets.
        precision: of the build.
        backend: of the build, ``"native"`` or ``"portable"``.
        epoch_cap: of the build.
        bank_bytes: all images.
        n_images: training images of the largest set.
        workers: at most that many.
        limit: bytes for the whole build; None takes most of what is free.
        forked: whether the workers share PyTorch's memory.

    Raises:
        BuildError: not even one worker fits.
    """
    given, limit = limit, limit or int(_SHARE * available_bytes())
    shared = _PARENT + _LIBRARIES + bank_bytes + (_PROCESS if forked else 0)
    distinct, plans = set(shapes), []
    for spill in (False, True):
        options = {"n_images": n_images, "spill": spill, "forked": forked}
        sizes = (worker_bytes(shape, precision, backend, epoch_cap, **options) for shape in distinct)  # type: ignore[arg-type]
        worker = max(sizes, default=_PROCESS)
        plans.append(MemoryPlan(min(workers, max(0, limit - shared) // worker), spill, worker, shared, limit))
    best = max(plans, key=lambda plan: plan.n_workers)  # the first of equals: no files without need
    if best.n_workers:
        return best
    need = shared + plans[1].worker
    have = f"--memory {size_text(limit)} is" if given else f"{size_text(limit)} ({_SHARE:.0%} of what is free here) are"
    raise BuildError(
        f"{have} too little for this build: one worker needs {size_text(plans[1].worker)}, images, libraries and the "
        f"command's own process {size_text(shared)}. Give at least --memory {-(-need // _UNITS['MB'])}MB"
        f"{'' if given else ' if that much can be freed'}, or smaller image sets (--train-images)"
    )


def parse_size(text: str) -> int:
    """Return the bytes that ``4GB`` or ``500MB`` stands for (powers of 1,000); raises ``BuildError``."""
    match = _SIZE.fullmatch(text.strip())
    if not match or not float(match[1]):
        text = text if len(text) <= 40 else f"{text[:40]}..."
        raise BuildError(f"--memory must be a number and MB, GB or TB, such as 4GB, got {text!r}")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def size_text(nbytes: float) -> str:
    """Return bytes for people, such as ``1.3 GB``."""
    return f"{nbytes / _UNITS['GB']:,.1f} GB" if nbytes >= 1e9 else f"{nbytes / _UNITS['MB']:,.0f} MB"


def available_bytes(root: Path = Path("/")) -> int:
    """Return the memory that new processes may take: what the system has free, and what control groups leave.

    Args:
        root: where ``proc`` and ``sys`` lie; another one in tests.
    """
    found = [*_free_bytes(root / "proc" / "meminfo"), *_group_bytes(root)]
    if not found:  # no Linux: half of what is built in
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2]
    return max(0, min(found))


def _free_bytes(meminfo: Path) -> Iterable[int]:
    match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8")) if meminfo.is_file() else None
    return [int(match[1]) * 1024] if match else []


def _group_bytes(root: Path) -> Iterable[int]:
    """Yield what each memory control group of this process, version 1 or 2, leaves of its limit."""
    lines = root / "proc" / "self" / "cgroup"
    for line in lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        limit, usage = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            yield from _left(folder / limit, folder / usage, folder / "memory.stat")


def _left(limit: Path, usage: Path, stat: Path) -> Iterable[int]:
    """Yield limit less usage of one group, pages of files aside, which the kernel gives back; nothing without a limit."""
    try:
        most, used = int(limit.read_text(encoding="utf-8")), int(usage.read_text(encoding="utf-8"))
        text = stat.read_text(encoding="utf-8")
        cached = re.search(r"^total_inactive_file (\d+)", text, re.MULTILINE) or re.search(
            r"^inactive_file (\d+)", text, re.MULTILINE
        )
    except (OSError, ValueError):  # no such group here, or the limit is the word max
        return
    yield most - used + (int(cached[1]) if cached else 0)
