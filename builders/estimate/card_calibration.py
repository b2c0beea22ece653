"""Measures how fast a card trains: the build's own trainer, on some shapes of the plan with all their trainings.

Fleets open, fill and are refilled as in a build, and evaluations are scored. What opening takes in the first half, compiling
among it, is left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from builders.compute.backend import OpenBackend, open_backend
from builders.compute.trainer import Steps, train
from builders.estimate.calibration import (
    AUGMENTED_FLOP,
    IMAGE_FLOP,
    SCORED,
    SET,
    UNKNOWN_SCATTER,
    Speed,
    Work,
    sample_by_cost,
)
from builders.images.bank import ImageBank, random_bank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from nws_data.errors import BuildError
from nws_data.terminal import say

_N_TRAIN, _N_TEST = 20_000, 4_000  # random images: with a validation split, :data:`SCORED` of those trained on are scored
_EPOCHS = 1000  # nothing ends before the time is over


def calibrate_card(
    works: Mapping[PlannedTraining, Work], precision: str, backend: str, seconds: float, *, device: str
) -> Speed:
    """Measure for about so many seconds from the first step on; raises ``BuildError`` when there were too few steps."""
    say(f"measuring {device} for {seconds:g} s, after its first fleets have opened", error=True)
    with tempfile.TemporaryDirectory(prefix="nws-plan-") as folder:
        random_bank(Path(folder), {SET: (_N_TRAIN, _N_TEST)})
        opened = open_backend(backend, ImageBank.open(Path(folder)), precision, device)
        shapes = {Shape.of(one.hyperparameters) for one in sample_by_cost(works, 2 * opened.n_fleets)}
        of_shapes = (one for one in works if Shape.of(one.hyperparameters) in shapes)
        trainings = [replace(one, hyperparameters=replace(one.hyperparameters, dataset=SET)) for one in of_shapes]
        _, cost = rates(trainings, opened, seconds)
    return Speed(1 / cost, len(shapes), UNKNOWN_SCATTER)


def rates(trainings: Iterable[PlannedTraining], opened: OpenBackend, seconds: float) -> tuple[float, float]:
    """Train for so many seconds from the first step on; return images x models and :class:`Work` cost a second.

    Raises:
        BuildError: there were fewer than three turns.
    """
    stamps: list[tuple[float, int, float]] = []
    for event in train(trainings, opened, epoch_cap=_EPOCHS):
        if isinstance(event, Steps):
            cost = event.flop * (1 + SCORED / 3) + event.n_images * (IMAGE_FLOP + AUGMENTED_FLOP / 2)
            stamps.append((time.monotonic(), event.n_images, cost))
            if stamps[-1][0] - stamps[0][0] > seconds:
                break
    if len(stamps) < 3:
        raise BuildError(f"--calibrate {seconds:g}: too few steps were taken in that time; give more seconds")
    middle = (stamps[0][0] + stamps[-1][0]) / 2
    later = [(n, cost) for at, n, cost in stamps if at > middle]
    elapsed_s = stamps[-1][0] - middle
    return sum(n for n, _ in later) / elapsed_s, sum(cost for _, cost in later) / elapsed_s
