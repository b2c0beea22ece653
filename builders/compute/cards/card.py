"""Opens a card for a job: images on it, streams for the fleets in flight."""

from __future__ import annotations

import torch

from builders.compute.backend import OpenBackend
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import card_path, enter_device_path, find_device
from builders.compute.cards.fleet import DeviceFleet, on_stream
from builders.images.bank import ImageBank
from builders.plan.shape import Shape

MAX_FLEETS = 8


def open_card(
    backend: str, bank: ImageBank, precision: str, device_name: str, slots: int | None = None, n_fleets: int = MAX_FLEETS
) -> OpenBackend:
    """Set this process and a card up.

    Args:
        backend: of the conv layers.
        bank: the build's images; they are copied to the device.
        precision: one of ``CARD_PRECISIONS``, or ``"float64"`` in tests.
        device_name: ``"cuda"``, ``"cuda:1"``, ...; ``"cpu"`` in tests.
        slots: of every fleet, in tests and measurements; normally the shape decides.
        n_fleets: in flight at most; fewer when the card's memory is full.

    Raises:
        BuildError: no such device.
    """
    device = find_device(device_name)
    enter_device_path(device)
    on_card = DeviceBank(bank, device)
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(n_fleets)]

    def fleet(shape: Shape, number: int) -> DeviceFleet:
        with on_stream(streams[number]):
            return DeviceFleet(shape, on_card, backend, precision, slots, streams[number])

    return OpenBackend(bank, fleet, precision, card_path(device, backend, precision), str(device), n_fleets)
