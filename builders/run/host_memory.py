"""How much of the machine's own memory a build on cards takes at most: snapshot buffers above all."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from builders.compute.cards.trainer import MAX_LANES
from builders.plan.device_shape import DeviceShape
from builders.plan.jobs import Job
from builders.recipe.snapshots import CAPACITY
from builders.run.memory import MemoryPlan, available_bytes, size_text
from nws_data.errors import BuildError

_GB = 10**9
_PROCESS = 4 * _GB  # a process with CUDA's libraries and pinned buffers; an assumption, not a measurement
_SHARED = _GB  # the process of the command and the libraries' files
_WEIGHT_BYTES = 4
_SHARE = 0.8  # of the memory that is free: the limit unless one is given


def plan_card_memory(jobs: Sequence[Job], *, epoch_cap: int, bank_bytes: int, limit: int | None = None) -> MemoryPlan:
    """Return a plan with one worker for each job, and whether snapshots go into files.

    Args:
        jobs: one for each card.
        epoch_cap: bound on epochs; few epochs need fewer snapshots.
        bank_bytes: all images.
        limit: bytes for the whole build on this machine; None takes most of what is free.

    Raises:
        BuildError: not even with the snapshots in files is the limit enough.
    """
    limit, shared = limit or int(_SHARE * available_bytes()), _SHARED + bank_bytes
    kept = min(epoch_cap, CAPACITY) + 1
    plans = []
    for spill in (False, True):
        worker = max((_PROCESS + _buffers(job, 1 if spill else kept) for job in jobs), default=_PROCESS)
        plans.append(MemoryPlan(len(jobs), spill, worker, shared, limit))
    fitting = [plan for plan in plans if plan.total <= limit]
    if not fitting and jobs:
        raise BuildError(
            f"{size_text(limit)} of memory are too little for {len(jobs)} cards: they need {size_text(plans[1].total)}; "
            "give more --memory or build on fewer cards (CUDA_VISIBLE_DEVICES=0)"
        )
    return fitting[0] if fitting else plans[0]


def _buffers(job: Job, kept: int) -> int:
    """Return the bytes of the snapshots of the members that are in flight at once, at most."""
    waiting = Counter(DeviceShape.of(planned.hyperparameters) for planned in job.trainings)
    lanes = (min(n, shape.slots) * shape.architecture.n_weights for shape, n in waiting.items())
    return sum(heapq.nlargest(MAX_LANES, lanes)) * kept * _WEIGHT_BYTES
