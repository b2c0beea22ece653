"""Opens a backend and trains trainings of any shapes by it, on a card several fleets in flight: small ones together fill it.

One host thread serves the lanes in turn. A training's bits depend on none of this.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence

import torch

from builders.compute.backend import BACKENDS, OpenBackend, implementation
from builders.compute.compute_path import path_of
from builders.compute.lane import Lane, Steps
from builders.compute.single import SingleFleet
from builders.images.bank import ImageBank
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord

_IDLE_S = 0.0002  # the card works; the host looks again soon


def open_backend(name: str, bank: ImageBank, precision: str, device: str = "cpu") -> OpenBackend:
    """Return a backend ready to train on ``"cpu"`` or a card, ``"cuda"``, ``"cuda:1"``, ...; raises ``BuildError`` where it
    cannot compute. The precision is one of the row's, or ``"float64"`` in tests."""
    if BACKENDS[name].device == "cuda":
        from builders.compute.cards.card import open_card

        return open_card(name, bank, precision, device)
    training = implementation(name)
    return OpenBackend(
        bank, lambda shape, *_: SingleFleet(training(shape, precision), bank), precision, path_of(name, precision)
    )


def train(trainings: Iterable[PlannedTraining], backend: OpenBackend, *, epoch_cap: int) -> Iterator[TrainingRecord | Steps]:
    """Train trainings of any shapes for up to ``epoch_cap`` epochs, at least 19; yield each as it finishes, and all steps.

    Who stops iterating drops unfinished trainings; they start from the beginning next time.
    """
    waiting = deque(_by_shape(trainings))
    lanes: list[Lane] = []
    most = backend.n_fleets
    while waiting or lanes:
        try:
            while waiting and len(lanes) < most:
                number = next(n for n in range(backend.n_fleets) if all(lane.number != n for lane in lanes))
                lanes.append(Lane(waiting[0], backend, epoch_cap, number))
                waiting.popleft()
        except torch.OutOfMemoryError:
            most = _fewer(len(lanes), backend.device)
        full = yield from _serve(lanes)
        if full:
            lanes.remove(full)
            waiting.appendleft(list(full.unfinished.values()))  # they start again
            most = _fewer(len(lanes), backend.device)
            full = None  # its memory is for the others
        n_ended = sum(lane.done for lane in lanes)
        lanes[:] = [lane for lane in lanes if not lane.done]
        most = min(backend.n_fleets, most + n_ended)  # what follows is smaller


def _serve(lanes: Sequence[Lane]) -> Generator[TrainingRecord | Steps, None, Lane | None]:
    """Give every lane that is ready a turn; rest a little when none is. Holds no lane afterwards, nor its memory.

    Returns a lane that found no memory, which has to be closed.
    """
    ready = [lane for lane in lanes if lane.ready]
    for lane in ready:
        try:
            events = lane.turn()
        except torch.OutOfMemoryError:
            return lane
        yield from events
    if not ready:
        time.sleep(_IDLE_S)
    return None


def _fewer(n_lanes: int, device: str) -> int:
    """Return how many lanes there may be from now on; raises ``BuildError`` when that is none."""
    if not n_lanes:
        raise BuildError(
            f"--device {device}: its memory does not hold one fleet; `nvidia-smi` shows what else takes it. Finished "
            "trainings are kept; run the same command again to go on"
        )
    return n_lanes


def _by_shape(trainings: Iterable[PlannedTraining]) -> list[list[PlannedTraining]]:
    by_shape: dict[Shape, list[PlannedTraining]] = defaultdict(list)
    for planned in trainings:
        by_shape[Shape.of(planned.hyperparameters)].append(planned)
    # Roughly how long a card's lane is busy: rounds of refills times the steps of an epoch times their size.
    busy = {shape: max(shape.card_slots, len(found)) * shape.architecture.n_weights for shape, found in by_shape.items()}
    return [by_shape[shape] for shape in sorted(by_shape, key=lambda shape: -busy[shape])]
