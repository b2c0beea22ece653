"""The sixteen statistics against numpy and scipy in float64."""

import warnings

import numpy as np
import pytest
from scipy import stats

from nws_data.errors import WindowError
from nws_data.features import statistics as module
from nws_data.features.statistics import PERCENTILES, STATISTICS, statistics


def oracle(pieces: np.ndarray) -> np.ndarray:
    """The definitions, piece by piece."""
    found = []
    for piece in pieces.astype(np.float64):
        for x in (piece, np.gradient(piece)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # scipy on nearly equal values
                skewness = 0.0 if x.min() == x.max() else stats.skew(x)
            found += [np.mean(x), np.var(x), skewness, *np.percentile(x, PERCENTILES)]
    return np.array(found).reshape(len(pieces), len(STATISTICS))


def close(pieces: np.ndarray) -> None:
    """Compare to 1e-6 of each statistic, and of the scale of the piece or its gradient where it nearly vanishes."""
    found, expected = statistics(pieces), oracle(pieces)
    for half, x in ((slice(0, 8), pieces), (slice(8, 16), np.gradient(pieces.astype(np.float64), axis=1))):
        spread = x.astype(np.float64).std(axis=1, keepdims=True)
        scale = np.concatenate([spread, spread**2, np.ones_like(spread), np.repeat(spread, 5, axis=1)], axis=1)
        limit = 1e-6 * np.maximum(np.abs(expected[:, half]), scale)
        assert (np.abs(found[:, half] - expected[:, half]) <= limit).all()


def draw(kind: str, n: int, length: int) -> np.ndarray:
    rng = np.random.default_rng(length)
    values = {
        "glorot": lambda: rng.uniform(-0.05, 0.05, (n, length)),
        "normal": lambda: 0.03 * rng.standard_normal((n, length)) - 0.01,
        "heavy tails": lambda: rng.standard_t(1.5, (n, length)),
        "large offset": lambda: 1000 + 0.1 * rng.standard_normal((n, length)),
        "sparse": lambda: np.where(rng.random((n, length)) < 0.95, 0, rng.exponential(1, (n, length))),
        "variances": lambda: rng.lognormal(-3, 2, (n, length)),
        "few values": lambda: rng.integers(-1, 2, (n, length)) * 0.1,
        "tiny": lambda: 1e-30 * rng.standard_normal((n, length)),
        "huge": lambda: 1e36 * rng.standard_normal((n, length)),
        "limit of float32": lambda: rng.choice([-3.4e38, 0, 3.4e38], (n, length)),
    }
    return values[kind]().astype(np.float32)


KINDS = (
    "glorot", "normal", "heavy tails", "large offset", "sparse", "variances", "few values", "tiny", "huge",
    "limit of float32",
)  # fmt: skip


@pytest.mark.parametrize("length", [4, 8, 101, 5000])
@pytest.mark.parametrize("kind", KINDS)
def test_against_numpy_and_scipy(kind: str, length: int) -> None:
    close(draw(kind, 6, length))


@pytest.mark.parametrize("kind", ["glorot", "heavy tails", "large offset"])
@pytest.mark.parametrize("extra", [0, 1, 2, 3, 70_000])
def test_pieces_longer_than_a_block(kind: str, extra: int) -> None:
    close(draw(kind, 2, module._BLOCK + extra))


@pytest.mark.parametrize("length", [2, 3])
def test_the_shortest_pieces(length: int) -> None:
    close(draw("normal", 5, length))


def test_by_hand() -> None:
    found = dict(zip(STATISTICS, statistics(np.array([[0, 0, 0, 8]], np.float32))[0].tolist(), strict=True))
    assert found["mean"] == 2 and found["variance"] == 12 and found["p75"] == 2 and found["p1"] == 0
    assert found["skewness"] == pytest.approx((3 * -8 + 216) / 4 / 12**1.5)
    # The gradient is 0, 0, 4, 8.
    assert found["gradient_mean"] == 3 and found["gradient_variance"] == 11 and found["gradient_p50"] == 2
    assert found["gradient_p99"] == pytest.approx(4 + 0.97 * 4)
    assert len(found) == 16


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1.0, 1e-40, 1e20, 3.4e38])
@pytest.mark.parametrize("length", [2, 8, 4099])
def test_constant_pieces_are_exact(value: float, length: int) -> None:
    found = statistics(np.full((3, length), value, np.float32))
    value = float(np.float32(value))
    np.testing.assert_array_equal(found, [[value, 0, 0, *[value] * 5, *[0] * 8]] * 3)


def test_a_constant_gradient_is_exact() -> None:
    found = statistics((np.arange(40, dtype=np.float32) * 0.25 - 3)[None])
    np.testing.assert_array_equal(found[0, 8:], [0.25, 0, 0, *[0.25] * 5])
    # This slope has 25 bits: float32 cannot hold it.
    c, b = 1 + 2.0**-22, 2.0**-24
    piece = np.array([[2 * b - c, b, c]], np.float32)
    assert float(piece[0, 2]) - float(piece[0, 1]) != float(piece[0, 2] - piece[0, 1])
    np.testing.assert_array_equal(statistics(piece)[0, 8:], [c - b, 0, 0, *[c - b] * 5])


def test_ramps_whose_gradient_is_only_rounding() -> None:
    close((np.arange(50, dtype=np.float32) * np.float32(0.1))[None])


def test_values_that_are_not_finite_stay_in_their_row() -> None:
    pieces = draw("normal", 5, 100)
    clean = statistics(pieces)
    pieces[1, 3], pieces[3, 0] = np.nan, np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = statistics(pieces)
    assert np.isnan(found[[1, 3]]).all()
    np.testing.assert_array_equal(found[[0, 2, 4]], clean[[0, 2, 4]])


@pytest.mark.parametrize("length", [5, 64, 1000, 8192, 20_001, 200_000])
def test_a_row_does_not_depend_on_its_batch(length: int) -> None:
    pieces = draw("heavy tails", max(3, min(700, 600_000 // length)), length)
    together = statistics(pieces)
    order = np.random.default_rng(0).permutation(len(pieces))
    np.testing.assert_array_equal(statistics(pieces[order]), together[order])
    for row in order[:5].tolist():
        np.testing.assert_array_equal(statistics(pieces[row : row + 1])[0], together[row])
    shifted = np.empty(pieces.size + 1, np.float32)[1:].reshape(pieces.shape)  # another alignment
    shifted[...] = pieces
    np.testing.assert_array_equal(statistics(shifted), together)


def test_strided_rows_and_no_rows() -> None:
    pieces = draw("normal", 8, 300)
    np.testing.assert_array_equal(statistics(pieces[::2, 50:150]), statistics(pieces[::2, 50:150].copy()))
    assert statistics(pieces[:0]).shape == (0, 16)


def test_the_input_is_left_alone() -> None:
    pieces = draw("normal", 3, 50)
    pieces.flags.writeable = False
    statistics(pieces)


def test_one_value_has_no_gradient() -> None:
    with pytest.raises(WindowError, match="at least 2 values, or it has no gradient; got 1"):
        statistics(np.zeros((4, 1), np.float32))
