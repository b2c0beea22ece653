"""What a configured build runs: its jobs, and how many workers its memory allows."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from builders.compute.devices import default_backend, local_cards
from builders.config import BuildConfig
from builders.plan.jobs import Job, make_device_jobs, make_jobs
from builders.plan.trainings import PlannedTraining
from builders.run.host_memory import plan_card_memory
from builders.run.memory import MemoryPlan, plan_memory
from builders.run.processes import are_forked

_TRAININGS_A_CARD = 512  # of a job that any card of a cluster may take


def jobs_of(config: BuildConfig, todo: Sequence[PlannedTraining]) -> list[Job]:
    """Return the build's jobs: for cards one each, which keeps several fleets in flight; smaller ones for Ray."""
    if config.device == "cpu":
        return make_jobs(todo, config.backend or "")
    cards = local_cards() if config.engine.name == "local" else [""] * -(-len(todo) // _TRAININGS_A_CARD)
    return make_device_jobs(todo, cards)


def memory_plan(config: BuildConfig, jobs: Sequence[Job], bank_bytes: int, n_images: int) -> MemoryPlan:
    """Return how many workers to start; raises ``BuildError`` when the limit is too low for one.

    A cluster's memory is not this machine's: there a limit counts only when it was given.
    """
    elsewhere = config.engine.name != "local"
    limit = config.memory or (sys.maxsize if elsewhere or not jobs else None)
    if config.device != "cpu":
        return plan_card_memory(jobs, epoch_cap=config.epoch_cap, bank_bytes=bank_bytes, limit=limit)
    return plan_memory(
        (job.shape for job in jobs),
        precision=config.precision,
        backend=config.backend or default_backend(config.device),
        epoch_cap=config.epoch_cap,
        bank_bytes=bank_bytes,
        n_images=n_images,
        workers=config.workers,
        limit=limit,
        forked=not elsewhere and are_forked(config.device),
    )
