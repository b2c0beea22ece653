"""The devices that tests of the device path run on: the CPU, and the card where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import enter_device_path, find_device
from builders.images.bank import ImageBank
from tests.builders.compute.cards.plain_program import use_plain

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
    use_plain(monkeypatch)
