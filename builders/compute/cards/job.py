"""What a worker does with a job on a card: all shapes of the job, several fleets in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import enter_device_path, find_device
from builders.compute.cards.lane import DeviceSettings
from builders.compute.cards.trainer import train_on_device
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining
from nws_data.format.records import TrainingRecord


def train_job(
    trainings: Sequence[PlannedTraining],
    bank: ImageBank,
    device_name: str,
    settings: DeviceSettings,
    on_step: Callable[[int, float], None],
) -> Iterator[TrainingRecord]:
    """Train on a device and yield each training as it finishes.

    Args:
        trainings: of any shapes.
        bank: the build's images; they are copied to the device.
        device_name: ``"cuda"``, ``"cuda:1"``, ...
        settings: how to train.
        on_step: called with images x models and operations; may raise to stop.

    Raises:
        BuildError: no such device, or too little memory on it.
    """
    if not trainings:
        return
    device = find_device(device_name)
    enter_device_path(device)
    yield from train_on_device(trainings, DeviceBank(bank, device), settings, on_step=on_step)
