"""Checks of arguments that several functions take."""

from __future__ import annotations

import numpy as np

from nws_data.errors import ArgumentError


def is_whole(value: object) -> bool:
    """Whether a value is an int of Python or numpy; a bool is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole_number(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return the argument ``name`` as an int in [low, high), or raise ``ArgumentError``."""
    if is_whole(value) and value >= low and (high is None or value < high):
        return int(value)
    limit = f"at least {low}" if high is None else f"in [{low}, 2^{high.bit_length() - 1})"
    raise ArgumentError(f"{name} must be {limit}, got {value!r}{'' if is_whole(value) else ': give a whole number'}")
