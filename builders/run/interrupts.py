"""Ctrl-C where an exception would be lost, as in a library's callbacks, or would leave something half-done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def same_handlers() -> Iterator[None]:
    """Undo what the block does to the handlers of Ctrl-C and its like."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        _set(before)


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C and its like wait until the yielded function is called, or the block ends: ``KeyboardInterrupt`` then.

    Its argument is the signal's number, of which the command makes its exit status.
    A second one does not wait. Signals that are ignored, or end the process without a word, stay as they are; so does all
    in other threads than the main one, which no signal reaches.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt(number)
        asked.append(number)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt(asked.pop())

    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = {number: handler for number, handler in before.items() if callable(handler)}
    _set(dict.fromkeys(mine, note))
    try:
        yield check
    finally:
        _set(mine)
    check()


def _set(handlers: Mapping[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
