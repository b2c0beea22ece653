"""Where tests of the card path run: kernels on the card, else in the interpreter; all else on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.card import enter_device_path, find_device
from builders.images.bank import ImageBank
from tests.builders.compute.cards.plain_program import use_plain

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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


@pytest.fixture(scope="session")
def device_bank(bank: ImageBank) -> DeviceBank:
    """The small bank where kernels run."""
    return DeviceBank(bank, find_device(DEVICE))


@pytest.fixture(scope="session")
def cpu_bank(bank: ImageBank) -> DeviceBank:
    """The small bank where plain PyTorch stands in for them."""
    return DeviceBank(bank, find_device("cpu"))


@pytest.fixture(scope="session", autouse=True)
def no_overflow_checks() -> None:
    """Save the interpreter from computing, in a third of its time, checks of overflow that it drops when not debugging."""
    if not torch.cuda.is_available():
        from triton.runtime.interpreter import InterpreterOptions, interpreter_builder

        interpreter_builder.options = InterpreterOptions(sanitize_overflow=False)


@pytest.fixture(autouse=True)
def fast_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain(monkeypatch)
