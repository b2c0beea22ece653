"""Opens a card for a job: images on it, streams for the fleets in flight."""

from __future__ import annotations

import torch

from builders.compute.backend import OpenBackend
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import card_path, enter_device_path, find_device
from builders.compute.cards.fleet import DeviceFleet, on_stream
from builders.compute.cards.self_check import MADE_UP, check_fleet
from builders.images.bank import ImageBank
from builders.plan.shape import Shape

MAX_FLEETS = 8


def open_card(
    backend: str, bank: ImageBank, precision: str, device_name: str, most: int | None = None, n_fleets: int = MAX_FLEETS
) -> OpenBackend:
    """Set this process and a card up, ``"cuda"``, ``"cuda:1"``, ...; raises ``BuildError`` when there is none.

    Before a card trains anything of an architecture, or of a batch size, a step is compared with the plain backend's, see
    ``self_check.py``.

    In tests the device can be ``"cpu"`` and the precision ``"float64"``; at ``most`` so many slots of a fleet are
    for tests and measurements, normally the shape decides.
    """
    device = find_device(device_name)
    enter_device_path(device)
    on_card = DeviceBank(bank, device)
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(n_fleets)]

    checked: set[object] = set()  # architectures and batch sizes

    def fleet(shape: Shape, number: int, n_trainings: int) -> DeviceFleet:
        slots = min(max(n_trainings, MADE_UP), most or shape.card_slots)
        with on_stream(streams[number]):
            made = DeviceFleet(shape, on_card, backend, precision, slots, streams[number])
            if device.type == "cuda" and not checked >= {shape.architecture, shape.batch_size}:
                check_fleet(made, shape, on_card, precision)
                checked.update((shape.architecture, shape.batch_size))
            return made

    return OpenBackend(bank, fleet, precision, card_path(device, backend, precision), str(device), n_fleets)
