"""Where windows start inside weight vectors: pure functions of lengths, seed and epoch."""

from __future__ import annotations

import numpy as np

from nws_data.arguments import is_whole
from nws_data.errors import WindowError, check_one_of
from nws_data.randomness import Purpose, words
from nws_data.space.architecture import PARTS, Part

N_OFFICIAL = 10
"""Windows of a vector that the official evaluation uses."""


def check_length(length: int, n_weights: np.ndarray) -> int:
    """Return the window length, or raise ``WindowError`` when it does not fit every vector (lengths ``(n,)``)."""
    shortest = int(n_weights.min())
    if not is_whole(length) or not 1 <= length <= shortest:
        raise WindowError(
            f"length: window must be in [1, {shortest}] (the shortest vector of this selection), got {length!r}"
            f"{'' if is_whole(length) else ': give a whole number'}"
        )
    return int(length)


def start_range(part: Part, length: int, n_weights: np.ndarray, n_weights_conv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last place where a window of a part may start, both included, int64 ``(n,)`` in the vectors.

    In ``"all"`` these are 0 and n-L, in ``"conv"`` 0 and max(0, n_conv-L), in ``"fc"`` n_conv and n-L, or just max(0, n-L)
    where the part is too short: as in the original, a window of a part shorter than itself runs on into the neighbour part.
    Raises ``SelectionError`` for an unknown part.

    Source: Eilertsen et al. 2020, Section 5.3, and the authors' scripts.
    """
    check_one_of("part", part, PARTS)
    n, n_conv = n_weights.astype(np.int64), n_weights_conv.astype(np.int64)
    last = np.maximum(0, (n_conv if part == "conv" else n) - length)
    first = np.minimum(n_conv, last) if part == "fc" else np.zeros_like(last)
    return first, last


def spills(part: Part, length: int, n_weights: np.ndarray, n_weights_conv: np.ndarray) -> np.ndarray:
    """Return bool ``(n,)``: whether a vector's part is shorter than the window, which then runs into its neighbour."""
    sizes = {"all": n_weights, "conv": n_weights_conv, "fc": n_weights - n_weights_conv}
    return sizes[part] < length


def random_starts(first: np.ndarray, last: np.ndarray, seed: int, epoch: int, per_vector: int = 1) -> np.ndarray:
    """Draw starts uniformly from first to last, both included: a function of (seed, epoch, item) alone.

    Returns int64 ``(n * per_vector,)``, the windows of a vector side by side.
    """
    draws = words(seed, Purpose.WINDOW, epoch, len(first) * per_vector).numpy()
    first, last = np.repeat(first, per_vector), np.repeat(last, per_vector)
    return first + (draws * (last - first + 1) >> 32)


def official_starts(first: np.ndarray, last: np.ndarray, per_vector: int = N_OFFICIAL, grid: int = 1) -> np.ndarray:
    """Return the fixed evaluation starts, ``round(linspace(first, last, per_vector))``.

    With a grid they are ``first`` plus the multiple of it, up to ``last``, that is nearest to each place.

    Returns int64 ``(n * per_vector,)``, the windows of a vector side by side.
    """
    if grid == 1:
        return np.rint(np.linspace(first, last, per_vector, axis=1)).astype(np.int64).reshape(-1)
    room = (last - first)[:, None]
    steps = np.rint(np.linspace(0, last - first, per_vector, axis=1) / grid).astype(np.int64)
    return (first[:, None] + grid * np.minimum(steps, room // grid)).reshape(-1)
