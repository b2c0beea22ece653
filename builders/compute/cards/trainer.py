"""Several fleets in flight on one device: small architectures together fill the card.

One host thread serves the lanes in turn; each keeps its own stream busy. A training's bits depend on none of this.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.lane import DeviceSettings, Lane
from builders.plan.device_shape import DeviceShape
from builders.plan.trainings import PlannedTraining
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord

MAX_LANES = 8
_IDLE_S = 0.0002  # the card works; the host looks again soon


def train_on_device(
    trainings: Iterable[PlannedTraining],
    bank: DeviceBank,
    settings: DeviceSettings,
    *,
    max_lanes: int = MAX_LANES,
    on_step: Callable[[int, float], None] = lambda n_images, flop: None,
) -> Iterator[TrainingRecord]:
    """Train trainings of any shapes and yield each as it finishes.

    Args:
        trainings: all of them.
        bank: the images on the device.
        settings: how to train.
        max_lanes: fleets in flight at most; fewer when the card's memory is full.
        on_step: called with the images x models that were enqueued and their operations; may raise to stop.

    Raises:
        BuildError: not even one fleet fits into the device's memory.
    """
    waiting = deque(_by_shape(trainings))
    streams = _streams(bank.device, max_lanes)
    lanes: list[Lane] = []
    n_at_most = len(streams)
    while waiting or lanes:
        while waiting and len(lanes) < n_at_most:
            stream = next(s for s in streams if s is None or all(lane.stream is not s for lane in lanes))
            if not _open(lanes, waiting[0], bank, settings, stream):
                n_at_most = len(lanes)  # until one of them is done
                break
            waiting.popleft()
        yield from _serve(lanes, on_step)
        n_busy = sum(not lane.done for lane in lanes)
        if n_busy < len(lanes):
            lanes[:] = [lane for lane in lanes if not lane.done]
            n_at_most = len(streams)


def _serve(lanes: Sequence[Lane], on_step: Callable[[int, float], None]) -> Iterator[TrainingRecord]:
    """Give every lane that is ready a turn; rest a little when none is. Holds no lane afterwards, nor its memory."""
    ready = [lane for lane in lanes if lane.ready]
    for lane in ready:
        records, n_images = lane.turn()
        on_step(n_images, float(n_images) * lane.flop_per_image)
        yield from records
    if not ready:
        time.sleep(_IDLE_S)


def _by_shape(trainings: Iterable[PlannedTraining]) -> list[list[PlannedTraining]]:
    """Return the trainings of each shape in plan order, the costliest shape first."""
    by_shape: dict[DeviceShape, list[PlannedTraining]] = defaultdict(list)
    for planned in trainings:
        by_shape[DeviceShape.of(planned.hyperparameters)].append(planned)
    return [by_shape[shape] for shape in sorted(by_shape, key=lambda shape: -_cost(shape, len(by_shape[shape])))]


def _cost(shape: DeviceShape, n: int) -> float:
    """Return roughly how long a lane will be busy: rounds of refills times the steps of an epoch times a step's size."""
    rounds = max(1.0, n / shape.slots)
    return rounds * shape.slots * shape.architecture.n_weights


def _streams(device: torch.device, n: int) -> list[torch.cuda.Stream | None]:
    """Return a stream for each lane; on the CPU lanes take turns without."""
    return [torch.cuda.Stream(device) for _ in range(n)] if device.type == "cuda" else [None] * n


def _open(
    lanes: list[Lane],
    trainings: list[PlannedTraining],
    bank: DeviceBank,
    settings: DeviceSettings,
    stream: torch.cuda.Stream | None,
) -> bool:
    """Append a new lane; return False when it has to wait for the memory of the others."""
    try:
        lanes.append(Lane(trainings, bank, settings, stream))
    except torch.OutOfMemoryError as error:
        if not lanes:
            shape = DeviceShape.of(trainings[0].hyperparameters)
            raise BuildError(
                f"a fleet of {shape.slots} trainings in batches of {shape.batch_size} does not fit into the device's memory "
                f"({error}); stop other programs on the card or give --device cpu"
            ) from error
        return False
    return True
