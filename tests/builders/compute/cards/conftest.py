"""Where tests of the card path run: kernels on the card, else in the interpreter; all else on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import FunctionType

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
def fast_interpreter() -> None:
    """Save the interpreter half of its time: checks of overflow, which it drops when not debugging; names of the language,
    replaced at every call of a function; a table of types, made for every value."""
    if torch.cuda.is_available():
        return
    import triton.language as tl
    from triton.runtime import interpreter

    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)
    patch, patched, dtype_of = interpreter._patch_lang, interpreter._LangPatchScope(), interpreter._get_np_dtype
    patch(FunctionType((lambda: None).__code__, {"tl": tl, "core": tl.core}))
    interpreter._patch_lang = lambda fn: patched  # nothing to restore
    dtypes = functools.cache(dtype_of)
    interpreter._get_np_dtype = lambda kind: dtype_of(kind) if kind.scalar.is_ptr() else dtypes(kind.scalar)


@pytest.fixture(autouse=True)
def fast_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain(monkeypatch)
