"""The devices that tests of the device path run on: the CPU, and the card where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import builders.compute.cards.draw
from builders.compute.backend import BACKENDS, CARD_PRECISIONS, Backend
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import enter_device_path, find_device
from builders.images.bank import ImageBank
from builders.recipe.augmentation import augment

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(autouse=True)
def card_path() -> Iterator[None]:
    """On a card compute as its workers do, and on a stream of its own: a graph cannot be captured on the default one."""
    if not torch.cuda.is_available():
        yield
        return
    enter_device_path(find_device("cuda"))  # without it cuDNN may pick algorithms whose bits do not repeat
    with torch.cuda.stream(torch.cuda.Stream()):
        yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture(scope="session", params=DEVICES)
def device_bank(request: pytest.FixtureRequest, bank: ImageBank) -> DeviceBank:
    """The small bank on each device."""
    return DeviceBank(bank, find_device(request.param))


@pytest.fixture(autouse=True)
def fast_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the backend ``grouped``, and augment without Triton's interpreter, which takes minutes for whole trainings.

    ``test_blocks.py`` and ``test_draw.py`` run the kernels, and say that the two are equal.
    """
    where = "tests.builders.compute.cards.blocks.grouped:grouped_block"
    monkeypatch.setitem(BACKENDS, "grouped", Backend("cuda", "cuda-fleet-1", CARD_PRECISIONS, where))
    monkeypatch.setattr(builders.compute.cards.draw, "augment_drawn", augment_each)


def augment_each(images: Tensor, seeds: Tensor, steps: Tensor) -> Tensor:
    """As ``augment_drawn``, by the definition; what is drawn is zero on tensors without values."""
    if images.device.type == "meta":
        return torch.empty(images.shape, device=images.device)
    parts = images.split(len(images) // len(seeds))
    return torch.cat([augment(*one) for one in zip(parts, seeds.tolist(), steps.tolist(), strict=True)])
