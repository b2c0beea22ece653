"""The sixteen statistics of a piece of weights: eight of its values, eight of their gradient.

Mean, variance (ddof 0), skewness (third standardised moment, 0 where all values are equal) and the percentiles 1, 25, 50,
75 and 99 (linear interpolation); the gradient is ``numpy.gradient`` along the piece, one-sided at its ends.
Source: Eilertsen et al. 2020, Section 5.1 and Supplement E.

How the time goes, about 7 ns a value: ``numpy.sort`` of float32 has vector code (2 ns) while ``numpy.percentile`` of
several percentiles has none (18 ns). The moments are sums of powers in float64, of blocks that stay in the cache, taken
about the median: it is never further from the mean than a standard deviation, so nothing cancels and the mean need not
be known beforehand. The gradient is kept doubled, ``v[i+1] - v[i-1]``, and halved in the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nws_data.errors import WindowError

PERCENTILES = (1, 25, 50, 75, 99)

_OF_VALUES = ("mean", "variance", "skewness", *(f"p{q}" for q in PERCENTILES))
STATISTICS = (*_OF_VALUES, *(f"gradient_{name}" for name in _OF_VALUES))
"""Names of the sixteen, in their order."""

VERSION = 1
"""Raise it when a change alters any bit of the results: cached features of other versions are not used."""

_BLOCK = 2**17
"""Values worked on at a time: few enough to stay in a cache, enough that the calls of numpy do not count."""

_DOT = 8192
"""Longest single dot product: the linear algebra library spreads longer ones over threads, and rounds differently."""

_LARGEST = 2.0**125
"""Above it doubled differences may not fit float32."""

_MEDIAN = PERCENTILES.index(50)


def statistics(values: np.ndarray) -> np.ndarray:
    """Return the statistics of pieces of equal length; each row depends on its own piece alone, bit for bit.

    Args:
        values: float32 ``(n, length)``, one piece a row; rows may be strided, the values of one may not.

    Returns:
        float64 ``(n, 16)`` in the order of :data:`STATISTICS`; NaN for pieces that hold a value that is not finite.

    Raises:
        WindowError: pieces of fewer than two values, which have no gradient.
    """
    n, length = values.shape
    if length < 2:
        raise WindowError(f"a piece must have at least 2 values, or it has no gradient; got {length}")
    found = np.empty((n, len(STATISTICS)))
    rows = max(1, _BLOCK // length)
    work = _Work(min(rows, n), length)
    with np.errstate(all="ignore"):  # values that are not finite, or too large, are done again below
        for first in range(0, n, rows):
            _fill(values[first : first + rows], found[first : first + rows], work)
    return found


class _Work:
    """Memory that all blocks of one call share."""

    def __init__(self, rows: int, length: int) -> None:
        width = min(length, _BLOCK + 2)
        self.sorted = np.empty((rows, length), np.float32)
        self.values, self.squares, self.differences = (np.empty((rows, width)) for _ in range(3))


def _fill(values: np.ndarray, found: np.ndarray, work: _Work) -> None:
    """Write the statistics of some rows into ``found``."""
    ordered = work.sorted[: len(values)]
    ordered[...] = values
    ordered.sort(axis=1)
    found[:, 3:8] = percentiles_of_sorted(ordered, PERCENTILES)
    odd = ~((ordered[:, 0] >= -_LARGEST) & (ordered[:, -1] <= _LARGEST))  # a NaN is sorted to the end

    np.subtract(values[:, 2:], values[:, :-2], out=ordered[:, 1:-1])  # twice numpy.gradient
    for end, first in ((0, 0), (-1, -2)):
        ordered[:, end] = 2 * (values[:, first + 1] - values[:, first])
    ordered.sort(axis=1)
    found[:, 11:16] = percentiles_of_sorted(ordered, PERCENTILES)
    # Equal in float32, but not 0, the differences may still differ in float64.
    odd |= (ordered[:, 0] == ordered[:, -1]) & (ordered[:, 0] != 0)

    _moments(values, found, work)
    found[:, [8, *range(11, 16)]] *= 0.5
    found[:, 9] *= 0.25
    for row in np.flatnonzero(odd):
        found[row] = _plain(values[row])


def percentiles_of_sorted(ordered: np.ndarray, which: Sequence[float]) -> np.ndarray:
    """Return float64 ``(n, len(which))``, linear, of sorted rows ``(n, length)``."""
    last = ordered.shape[1] - 1
    place = np.array(which) / 100 * last
    below = place.astype(np.int64)
    low = ordered[:, below].astype(np.float64)
    return low + (ordered[:, np.minimum(below + 1, last)] - low) * (place - below)


def _moments(values: np.ndarray, found: np.ndarray, work: _Work) -> None:
    """Write mean, variance and skewness of the values and of the doubled gradient; the medians are there already."""
    n, length = values.shape
    center, slope = found[:, 3 + _MEDIAN], found[:, 11 + _MEDIAN]
    sums, powers = np.zeros((3, n)), np.zeros((2, n))
    inner = length - 2  # places that have both neighbours
    for first in range(0, max(inner, 1), _BLOCK):
        stop = min(first + _BLOCK, inner)
        block = work.values[:n, : stop + 2 - first]
        block[...] = values[:, first : stop + 2]
        differences = np.subtract(block[:, 2:], block[:, :-2], out=work.differences[:n, : stop - first])
        if stop < inner:  # the last two belong to the next block
            block = block[:, :-2]
        block -= center[:, None]
        sums[0] += block.sum(axis=1)
        sums[1:] += _second_and_third(block, work.squares)
        differences -= slope[:, None]
        powers += _second_and_third(differences, work.squares)
    ends = values[:, [0, 1, -2, -1]].astype(np.float64)
    outer = 2 * (ends[:, [1, 3]] - ends[:, [0, 2]]) - slope[:, None]
    powers += np.stack([(outer**power).sum(1) for power in (2, 3)])
    gradient_sum = 3 * (ends[:, 3] - ends[:, 0]) - (ends[:, 2] - ends[:, 1])  # all else cancels
    found[:, 0:3] = _from_sums(center, sums[0] / length, sums[1:] / length)
    found[:, 8:11] = _from_sums(slope, gradient_sum / length - slope, powers / length)


def _second_and_third(x: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the sums of squares and of cubes of each row, ``(2, n)``; ``squares`` is memory to work in."""
    squares = np.multiply(x, x, out=squares[: len(x), : x.shape[1]])
    return np.stack([_dots(x, x), _dots(x, squares)])


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the scalar product of each row of ``a`` ``(n, width)`` with that of ``b``, ``(n,)``."""
    whole = a.shape[1] // _DOT * _DOT
    found = np.matmul(a[:, None, whole:], b[:, whole:, None])[:, 0, 0]
    if whole:
        a, b = (x[:, :whole].reshape(len(x), -1, 1, _DOT) for x in (a, b))
        found += np.matmul(a, b.swapaxes(2, 3))[:, :, 0, 0].sum(1)
    return found


def _from_sums(center: np.ndarray, first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return mean, variance and skewness ``(n, 3)`` from the moments about ``center``: first, second and third."""
    second, third = others
    variance = np.maximum(second - first**2, 0)
    skewness = np.zeros_like(variance)
    np.divide(third - 3 * first * second + 2 * first**3, variance**1.5, out=skewness, where=variance > 0)
    return np.stack([center + first, variance, skewness], axis=1)


def _plain(piece: np.ndarray) -> np.ndarray:
    """Return the statistics ``(16,)`` of one piece as numpy writes them, all in float64: for what needs care."""
    values = piece.astype(np.float64)
    if not np.isfinite(values).all():
        return np.full(len(STATISTICS), np.nan)
    return np.concatenate([_plain_of(values), _plain_of(np.gradient(values))])


def _plain_of(x: np.ndarray) -> np.ndarray:
    if x.min() == x.max():
        return np.array([x[0], 0, 0, *[x[0]] * len(PERCENTILES)])
    deviations = x - x.mean()
    variance = np.mean(deviations**2)
    return np.array([x.mean(), variance, np.mean(deviations**3) / variance**1.5, *np.percentile(x, PERCENTILES)])
