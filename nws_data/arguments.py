"""Checks of arguments that several functions take, and of texts that go into a dataset."""

from __future__ import annotations

import numpy as np

from nws_data.errors import ArgumentError

MAX_TEXT = 1_000
"""Characters of a text: names, sources of images, hosts."""


def is_whole(value: object) -> bool:
    """Whether a value is an int of Python or numpy; a bool is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole_number(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return the argument ``name`` as an int in [low, high), or raise ``ArgumentError``."""
    if is_whole(value) and value >= low and (high is None or value < high):
        return int(value)
    limit = f"at least {low}" if high is None else f"in [{low}, 2^{high.bit_length() - 1})"
    raise ArgumentError(f"{name} must be {limit}, got {value!r}{'' if is_whole(value) else ': give a whole number'}")


def check_text(value: object, what: str) -> str:
    """Return a text that can be stored, shown in a terminal and put into a table, or raise ``ValueError``."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        shown = f"{value[:40]!r}" if isinstance(value, str) else type(value).__name__
        raise ValueError(f"{what} must be a text of at most {MAX_TEXT:,} printable characters, got {shown}")
    return value
