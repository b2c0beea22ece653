"""Statistics of windows beyond the sixteen: what a training leaves in consecutive weights, wherever they lie.

Each statistic is a function of one window's values alone: not of its place, of the vector's length or of its neighbours in
the batch. In what follows w is the window, of L values; its scale is its interquartile range / 1.349 (its standard deviation
where that is 0, or 1); z = (w - median) / scale, cut to [-5, 5]. ``log`` is the decimal logarithm of a number plus 1e-12.
Moments have ddof 0, skewness and kurtosis are the third and fourth standardised moment, nearly 0 where all values are equal;
percentiles are linear. What a window is too short for is left out, so the statistics depend on L.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from scipy import fft

from nws_data.features.statistics import percentiles_of_sorted as _percentiles

VERSION = 1
"""Raise it when a change alters any bit of the results: cached features of other versions are not used."""

Columns = dict[str, np.ndarray]
"""Statistics by name, each ``(n,)``."""

PERCENTILES = (0, 0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)
LAGS = (*range(1, 11), 12, 15, 16, 18, 20, 21, 24, 25, 27, 32, 36, 48, 49, 50, 64, 72, 75, 96, 98, 100, 108, 128, 147, 192)
LAGS += (196, 200, 256, 288, 300, 384, 400, 512, 588, 600, 768, 1024, 1536)
"""Filter sides and areas, channels, units, inputs of a row, and products of them."""
PERIODS = (3, 5, 7, 8, 9, 12, 16, 24, 25, 32, 48, 49, 64, 96, 128, 192, 256, 512, 768)
ROWS = (64, 96, 128, 192, 256, 512, 768)
"""Inputs of a fully connected unit."""
UNITS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Channels or units of a layer with batch norm."""
BLOCKS = (16, 50, 250)

_INNER = (1, 5, 10, 25, 50, 75, 90, 99)
_FIVE = (0, 10, 50, 90, 100)
_CUT = 5.0
_MAX_LAG = 2048
_MAX_ROWS = 24
_PERIOD = 768  # a multiple of most periods: spectra are of so many values, or a multiple of it
_CHUNK = 2**18
"""Values worked on at a time, so that they stay in a cache."""


def window_statistics(windows: np.ndarray) -> np.ndarray:
    """Return the statistics of windows; each row depends on its own window alone, bit for bit.

    Args:
        windows: float32 ``(n, length)``, finite, of at least 16 values.

    Returns:
        float64 ``(n, len(statistic_names(length)))``; NaN only for ``norms.*`` of a window that holds no norm vectors.
    """
    step = max(1, _CHUNK // windows.shape[1])
    chunks = [windows[first : first + step] for first in range(0, len(windows), step)]
    return np.concatenate([np.stack(list(_columns(chunk).values()), axis=1) for chunk in chunks])


@lru_cache
def statistic_names(length: int) -> tuple[str, ...]:
    """Return the names, ``group.statistic``, in the order of :func:`window_statistics`, for windows of a length."""
    return tuple(_columns(np.zeros((1, length), np.float32)))


def _columns(windows: np.ndarray) -> Columns:
    shared = _Windows(np.ascontiguousarray(windows))
    return {f"{group.__name__}.{name}": x for group in GROUPS for name, x in group(shared).items()}


class _Windows:
    """What several groups of statistics need of the same windows."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.n, self.length = values.shape
        self.w = values.astype(np.float64)
        self.ordered = np.sort(values, axis=1)
        self.percentiles = _percentiles(self.ordered, PERCENTILES)
        self.median = self.percentiles[:, PERCENTILES.index(50)]
        self.std = self.w.std(axis=1)
        quarters = self.percentiles[:, PERCENTILES.index(75)] - self.percentiles[:, PERCENTILES.index(25)]
        self.scale = np.where(quarters > 0, quarters / 1.349, _or_one(self.std))
        self.z = np.clip((self.w - self.median[:, None]) / self.scale[:, None], -_CUT, _CUT)

    @cached_property
    def correlations(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Autocorrelations at the lags 0 to L / 2, at most 2,048, of z and of |z|."""
        return ("", self._correlation(self.z)), ("abs_", self._correlation(np.abs(self.z)))

    def _correlation(self, x: np.ndarray) -> np.ndarray:
        last = min(_MAX_LAG, self.length // 2)
        size = fft.next_fast_len(self.length + last, real=True)
        spectrum = fft.rfft(x - x.mean(axis=1)[:, None], size, axis=1)
        found = fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=1)[:, : last + 1]
        return found / _or_one(found[:, :1])


def values(s: _Windows) -> Columns:
    """Mean, standard deviation and percentiles of w."""
    return {"mean": s.w.mean(axis=1), "std": s.std} | _named("w", PERCENTILES, s.percentiles)


def shape(s: _Windows) -> Columns:
    """What scale does not change: percentiles of (w - median) / scale and of (w - mean) / standard deviation, moments of z,
    shares of |z| below 0.05 to 3 and at the cut, scale / standard deviation.
    """
    spread, mean, magnitudes = _or_one(s.std)[:, None], s.w.mean(axis=1)[:, None], np.abs(s.z)
    found = _named("z", PERCENTILES, (s.percentiles - s.median[:, None]) / s.scale[:, None])
    found |= _named("standardised", PERCENTILES, (s.percentiles - mean) / spread) | _moments("moment", s.z)
    found |= {f"within_{limit}": (magnitudes < limit).mean(axis=1) for limit in (0.05, 0.2, 0.5, 1, 2, 3)}
    return found | {"outliers": (magnitudes >= _CUT).mean(axis=1), "scale": s.scale / spread[:, 0]}


def magnitudes(s: _Windows) -> Columns:
    """Percentiles and moments of log |w|, shares of exact zeros and of |w| under 1e-6 and 1e-3."""
    ordered = np.sort(np.abs(s.values), axis=1)
    found = _named("log", _INNER, _log(_percentiles(ordered, _INNER))) | _moments("log", _log(ordered.astype(np.float64)))
    return found | {f"below_{limit:g}": (ordered <= limit).mean(axis=1) for limit in (0, 1e-6, 1e-3)}


def repeats(s: _Windows) -> Columns:
    """Shares of values that equal another, of steps between sorted values under 1e-6, and of values equal to the next; how
    often the most frequent value stands there; log of percentiles of the steps between sorted values / scale.
    """
    gaps = np.diff(s.ordered.astype(np.float64), axis=1)
    found = {"share": (gaps == 0).mean(axis=1), "close": (gaps < 1e-6).mean(axis=1), "most": _longest(gaps == 0)}
    found["next"] = (s.values[:, 1:] == s.values[:, :-1]).mean(axis=1)
    steps = _percentiles(np.sort(gaps, axis=1), _INNER) / s.scale[:, None]
    return found | _named("log_step", _INNER, _log(steps))


def differences(s: _Windows) -> Columns:
    """Of d = w[i + 1] - w[i]: log of percentiles of |d|, also of |d| / scale; standard deviation, skewness, kurtosis; the
    standard deviation over that of w.
    """
    d = np.diff(s.w, axis=1)
    sizes = _percentiles(np.sort(np.abs(d), axis=1), _INNER)
    found = _named("log", _INNER, _log(sizes)) | _named("log_scaled", _INNER, _log(sizes / s.scale[:, None]))
    found |= _moments("moment", d)
    return found | {"ratio": found["moment_std"] / _or_one(s.std)}


def autocorrelation(s: _Windows) -> Columns:
    """Autocorrelation of z and of |z| (overlapping products over the sum of squares) at :data:`LAGS`; the largest, its lag
    and the smallest from lag 2 on; means of correlations and of their squares over lags 2-16, 17-128 and above.
    """
    found: Columns = {}
    for prefix, c in s.correlations:
        found |= {f"{prefix}{lag}": c[:, lag] for lag in LAGS if lag < c.shape[1]}
        later = c[:, 2:]
        found |= {f"{prefix}max": later.max(axis=1), f"{prefix}min": later.min(axis=1)}
        found[f"{prefix}argmax"] = later.argmax(axis=1) + 2.0
        for first, stop in ((2, 17), (17, 129), (129, c.shape[1])):
            if stop <= c.shape[1] and first < stop:
                found[f"{prefix}mean_{first}"] = c[:, first:stop].mean(axis=1)
                found[f"{prefix}square_{first}"] = (c[:, first:stop] ** 2).mean(axis=1)
    return found


def periods(s: _Windows) -> Columns:
    """Mean autocorrelation of z and of |z| over the first 32 multiples of each of :data:`PERIODS`, or as many as there are,
    two at least.
    """
    return {
        f"{prefix}{period}": c[:, period : 32 * period + 1 : period].mean(axis=1)
        for prefix, c in s.correlations
        for period in PERIODS
        if 2 * period < c.shape[1]
    }


def spectrum(s: _Windows) -> Columns:
    """Power of z of which the mean is 1: at the first, second and fourth harmonic of periods, in ten bands of equal ratio,
    largest, and the mean of its logarithm. Of the first values, a multiple of 768 of them, or of all where L < 768.
    """
    n = s.length // _PERIOD * _PERIOD or s.length
    z = s.z[:, :n]
    transformed = fft.rfft(z - z.mean(axis=1)[:, None], axis=1)
    power = (transformed.real**2 + transformed.imag**2)[:, 1:]
    power /= _or_one(power.mean(axis=1))[:, None]
    found = {
        f"period_{period}.{k}": power[:, k * n // period - 1]
        for period in (32, 48, *ROWS)
        if n % period == 0
        for k in (1, 2, 4)
    }
    edges = np.unique(np.rint(np.geomspace(1, power.shape[1] + 1, 11)).astype(int)) - 1
    found |= {f"band_{i}": power[:, a:b].mean(axis=1) for i, (a, b) in enumerate(pairwise(edges))}
    return found | {"max": power.max(axis=1), "log": _log(power).mean(axis=1)}


def rank(s: _Windows) -> Columns:
    """For each of :data:`ROWS`: z as the rows of a matrix, 24 at most and three at least, less their means; the largest two
    and the smallest squared singular value and the sum of their squares, where the sum of all is 1.
    """
    found: Columns = {}
    for row in ROWS:
        n = min(s.length // row, _MAX_ROWS)
        if n < 3:
            continue
        matrix = s.z[:, : n * row].reshape(s.n, n, row)
        matrix = matrix - matrix.mean(axis=2, keepdims=True)
        # No matrix product: its library may round differently in another batch.
        squares = np.maximum(np.linalg.eigvalsh(np.einsum("nij,nkj->nik", matrix, matrix)), 0)
        squares /= _or_one(squares.sum(axis=1))[:, None]
        found |= {f"{row}.1": squares[:, -1], f"{row}.2": squares[:, -2], f"{row}.last": squares[:, 0]}
        found[f"{row}.squares"] = (squares**2).sum(axis=1)
    return found


def blocks(s: _Windows) -> Columns:
    """For each of :data:`BLOCKS`: the window in blocks of so many values, three at least.

    Over blocks: moments and percentiles of log standard deviation and of the mean as z, times the root of the size;
    percentiles of the mean as it is and of the share of positive values. Of steps of log standard deviation between
    neighbours: the largest, and the shares above 0.15 and 0.5.
    """
    found: Columns = {}
    for size in BLOCKS:
        if s.length < 3 * size:
            continue
        x = s.w[:, : s.length // size * size].reshape(s.n, -1, size)
        means, spreads = x.mean(axis=2), _log(x.std(axis=2))
        scaled = (means - s.median[:, None]) / s.scale[:, None] * size**0.5
        found |= _moments(f"{size}.scaled_mean", scaled) | _moments(f"{size}.log_std", spreads)
        for name, y in (("mean", means), ("scaled_mean", scaled), ("log_std", spreads), ("positive", (x > 0).mean(axis=2))):
            found |= _named(f"{size}.{name}", _FIVE, _percentiles(np.sort(y, axis=1), _FIVE))
        steps = np.abs(np.diff(spreads, axis=1))
        found[f"{size}.step_max"] = steps.max(axis=1)
        found |= {f"{size}.step_above_{limit}": (steps > limit).mean(axis=1) for limit in (0.15, 0.5)}
    return found


def runs(s: _Windows) -> Columns:
    """The longest run of values that are positive, negative, in (0.3, 2), in (0.8, 1.2), under 0.01 in magnitude, above 2,
    equal to the one before; the share of neighbours of different sign, and on different sides of the median.
    """
    w = s.values
    found = {"positive": w > 0, "negative": w < 0, "near_one": (w > 0.3) & (w < 2), "one": (w > 0.8) & (w < 1.2)}
    found |= {"small": np.abs(w) < 0.01, "large": w > 2, "equal": w[:, 1:] == w[:, :-1]}
    above = s.w > s.median[:, None]
    flips = {"sign_changes": w > 0, "median_changes": above}
    return {name: _longest(mask) for name, mask in found.items()} | {
        name: (mask[:, 1:] != mask[:, :-1]).mean(axis=1) for name, mask in flips.items()
    }


def norms(s: _Windows) -> Columns:
    """The vectors of a layer that lie side by side, found by their values: bias, beta, gamma, mean, variance.

    A candidate is five stretches of as many values each, one of :data:`UNITS`, of which the third lies in (0.3, 2.5) and the
    fifth is positive. That of the smallest cost is taken: the mean of the lesser of 3 and the distance of gamma from 1, plus
    0.02, over the root of the number of units. Given are units and cost; of each vector mean, smallest, largest, log
    standard deviation and log of the mean magnitude; of the logs of the variances the standard deviation. Without a
    candidate the units are 0, all else is NaN.
    """
    cost, units, start = _norm_vectors(s)
    table = np.full((s.n, len(_NORM_NAMES)), np.nan)
    for i in np.flatnonzero(units):
        table[i] = _norm_statistics(s.w[i, start[i] : start[i] + 5 * units[i]].reshape(5, -1))
    found = {"units": units.astype(np.float64), "cost": np.where(units > 0, cost, np.nan)}
    return found | dict(zip(_NORM_NAMES, table.T, strict=True))


_NORM_VECTORS = ("bias", "beta", "gamma", "mean", "variance")
_NORM_NAMES = tuple(f"{v}.{name}" for name in ("mean", "min", "max", "log_std", "log_size") for v in _NORM_VECTORS)
_NORM_NAMES += ("variance.std_log",)


def _norm_statistics(vectors: np.ndarray) -> np.ndarray:
    """Return the numbers of :data:`_NORM_NAMES` of five vectors ``(5, units)``."""
    found = [vectors.mean(axis=1), vectors.min(axis=1), vectors.max(axis=1)]
    found += [_log(vectors.std(axis=1)), _log(np.abs(vectors).mean(axis=1)), [_log(vectors[4]).std()]]
    return np.concatenate(found)


def _norm_vectors(s: _Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cost, the units (0 for none) and the first place of the cheapest candidate, each ``(n,)``."""
    gamma_like = _sums((s.values > 0.3) & (s.values < 2.5), np.int32)
    positive = _sums(s.values > 0, np.int32)
    distance = _sums(np.minimum(np.abs(s.w - 1), 3), np.float64)
    best, units, start = np.full(s.n, np.inf), np.zeros(s.n, np.int64), np.zeros(s.n, np.int64)
    for u in UNITS:
        n = s.length - 5 * u + 1  # places where the bias may start
        if n < 1:
            continue
        fits = gamma_like[:, 3 * u :][:, :n] - gamma_like[:, 2 * u :][:, :n] == u
        fits &= positive[:, 5 * u :][:, :n] - positive[:, 4 * u :][:, :n] == u
        cost = ((distance[:, 3 * u :][:, :n] - distance[:, 2 * u :][:, :n]) / u + 0.02) / u**0.5
        cost[~fits] = np.inf
        place = cost.argmin(axis=1)
        cheapest = cost[np.arange(s.n), place]
        better = cheapest < best
        best[better], units[better], start[better] = cheapest[better], u, place[better]
    return best, units, start


GROUPS: tuple[Callable[[_Windows], Columns], ...] = (values, shape, magnitudes, repeats, differences, autocorrelation)
GROUPS += (periods, spectrum, rank, blocks, runs, norms)
"""The groups of statistics; a docstring says what each holds."""


def _moments(name: str, x: np.ndarray) -> Columns:
    """Return mean, standard deviation, skewness and kurtosis of rows ``(n, length)``."""
    mean = x.mean(axis=1)
    deviations = x - mean[:, None]
    squares = deviations**2
    variance = squares.mean(axis=1)
    variance[variance < 1e-24 * mean**2] = 0  # equal values whose mean was rounded
    divisor = _or_one(variance)
    skewness = (squares * deviations).mean(axis=1) / divisor**1.5
    kurtosis = (squares**2).mean(axis=1) / divisor**2
    kinds = {"mean": mean, "std": variance**0.5, "skewness": skewness, "kurtosis": kurtosis}
    return {f"{name}_{kind}": x for kind, x in kinds.items()}


def _named(name: str, which: Sequence[float], table: np.ndarray) -> Columns:
    """Return the columns of percentiles ``(n, len(which))`` by name."""
    return {f"{name}_p{q}": column for q, column in zip(which, table.T, strict=True)}


def _longest(mask: np.ndarray) -> np.ndarray:
    """Return the length of the longest run of true values in each row ``(n, length)``."""
    places = np.arange(mask.shape[1], dtype=np.int32)
    last_false = np.maximum.accumulate(np.where(mask, np.int32(-1), places), axis=1)
    return (places - last_false).max(axis=1).astype(np.float64)


def _sums(x: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Return the sums of the first 0, 1, ... values of each row, ``(n, length + 1)``."""
    found = np.zeros((x.shape[0], x.shape[1] + 1), dtype)
    np.cumsum(x, axis=1, out=found[:, 1:])
    return found


def _log(x: np.ndarray) -> np.ndarray:
    return np.log10(x + 1e-12)


def _or_one(x: np.ndarray) -> np.ndarray:
    """Return divisors: x, or 1 where it is not above 0."""
    return np.where(x > 0, x, 1)
