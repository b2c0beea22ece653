"""Window statistics against numpy and scipy on one window at a time, and on windows of which the answer is known."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from scipy import stats

from baselines.window_statistics import BLOCKS, LAGS, PERCENTILES, PERIODS, ROWS, statistic_names, window_statistics

INNER = (1, 5, 10, 25, 50, 75, 90, 99)


def found(window: np.ndarray) -> dict[str, float]:
    values = window.astype(np.float32)[None]
    return dict(zip(statistic_names(values.shape[1]), window_statistics(values)[0], strict=True))


def draw(length: int, seed: int = 0) -> np.ndarray:
    """Correlated weights with exact zeros, repeated values, outliers and two scales."""
    rng = np.random.default_rng(seed)
    x = 0.05 * np.convolve(rng.standard_normal(length + 4), [1, 0.5, 0, 0, 0.7], "valid")
    x[length // 3 :] *= 4
    x[rng.integers(0, length, length // 10)] = 0
    x[rng.integers(0, length, length // 20)] = np.float32(0.1)
    x[rng.integers(0, length, 3)] = [5, 9, -7]
    return x.astype(np.float32)


def log(x: Any) -> Any:
    return np.log10(np.asarray(x, np.float64) + 1e-12)


def percentiles(name: str, which: tuple[float, ...], x: np.ndarray) -> dict[str, float]:
    return {f"{name}_p{q}": value for q, value in zip(which, np.percentile(x, which), strict=True)}


def moments(name: str, x: np.ndarray) -> dict[str, float]:
    kinds = {"mean": np.mean(x), "std": np.std(x), "skewness": stats.skew(x), "kurtosis": stats.kurtosis(x, fisher=False)}
    return {f"{name}_{kind}": value for kind, value in kinds.items()}


def longest(mask: np.ndarray) -> int:
    return max([len(list(run)) for value, run in groupby(mask.tolist()) if value], default=0)


def oracle(window: np.ndarray) -> dict[str, float]:
    """The definitions of all groups but the norms, of one window."""
    w = window.astype(np.float64)
    n = len(w)
    scale = stats.iqr(w) / 1.349
    z = np.clip((w - np.median(w)) / scale, -5, 5)
    e = {"values.mean": w.mean(), "values.std": w.std()} | percentiles("values.w", PERCENTILES, w)
    e |= percentiles("shape.z", PERCENTILES, (w - np.median(w)) / scale)
    e |= percentiles("shape.standardised", PERCENTILES, (w - w.mean()) / w.std()) | moments("shape.moment", z)
    e |= {f"shape.within_{limit}": np.mean(np.abs(z) < limit) for limit in (0.05, 0.2, 0.5, 1, 2, 3)}
    e |= {"shape.outliers": np.mean(np.abs(z) == 5), "shape.scale": scale / w.std()}
    e |= moments("magnitudes.log", log(np.abs(w)))
    e |= {f"magnitudes.log_p{q}": log(np.percentile(np.abs(w), q)) for q in INNER}
    e |= {f"magnitudes.below_{limit:g}": np.mean(np.abs(window) <= np.float32(limit)) for limit in (0, 1e-6, 1e-3)}
    gaps = np.diff(np.sort(w))
    counts = np.unique(window, return_counts=True)[1]
    e |= {"repeats.share": (n - len(counts)) / (n - 1), "repeats.close": np.mean(gaps < 1e-6)}
    e |= {"repeats.most": counts.max() - 1, "repeats.next": np.mean(np.diff(w) == 0)}
    e |= {f"repeats.log_step_p{q}": log(np.percentile(gaps, q) / scale) for q in INNER}
    d = np.diff(w)
    e |= {f"differences.log_p{q}": log(np.percentile(np.abs(d), q)) for q in INNER}
    e |= {f"differences.log_scaled_p{q}": log(np.percentile(np.abs(d), q) / scale) for q in INNER}
    e |= moments("differences.moment", d) | {"differences.ratio": d.std() / w.std()}
    return e | correlated(z) | spectral(z) | blocked(w, scale) | runs(window, float(np.median(w)))


def correlated(z: np.ndarray) -> dict[str, float]:
    e: dict[str, float] = {}
    for prefix, x in (("", z - z.mean()), ("abs_", np.abs(z) - np.abs(z).mean())):
        last = min(2048, len(x) // 2)
        c = np.correlate(x, x, "full")[len(x) - 1 :][: last + 1] / (x @ x)
        name = f"autocorrelation.{prefix}"
        e |= {f"{name}{lag}": c[lag] for lag in LAGS if lag <= last}
        e |= {f"{name}max": c[2:].max(), f"{name}min": c[2:].min(), f"{name}argmax": 2 + c[2:].argmax()}
        for first, stop in ((2, 17), (17, 129), (129, last + 1)):
            if stop <= last + 1 and first < stop:
                e |= {f"{name}mean_{first}": c[first:stop].mean(), f"{name}square_{first}": (c[first:stop] ** 2).mean()}
        e |= {f"periods.{prefix}{p}": np.mean(c[p : 32 * p + 1 : p]) for p in PERIODS if 2 * p <= last}
    return e


def spectral(z: np.ndarray) -> dict[str, float]:
    n = len(z) // 768 * 768 or len(z)
    x = z[:n] - z[:n].mean()
    frequencies = np.arange(1, n // 2 + 1)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n)) / n)
    power = np.abs(waves @ x) ** 2
    power /= power.mean()
    at = {f"spectrum.period_{p}.{k}": power[k * n // p - 1] for p in (32, 48, *ROWS) if n % p == 0 for k in (1, 2, 4)}
    edges = np.unique(np.rint(np.geomspace(1, len(power) + 1, 11)).astype(int)) - 1
    at |= {f"spectrum.band_{i}": power[edges[i] : edges[i + 1]].mean() for i in range(len(edges) - 1)}
    at |= {"spectrum.max": power.max(), "spectrum.log": log(power).mean()}
    for row in ROWS:
        rows = min(len(z) // row, 24)
        if rows >= 3:
            matrix = z[: rows * row].reshape(rows, row)
            s = np.linalg.svd(matrix - matrix.mean(axis=1, keepdims=True), compute_uv=False) ** 2
            s /= s.sum()
            at |= {f"rank.{row}.1": s[0], f"rank.{row}.2": s[1], f"rank.{row}.last": s[-1], f"rank.{row}.squares": s @ s}
    return at


def blocked(w: np.ndarray, scale: float) -> dict[str, float]:
    e: dict[str, float] = {}
    for size in BLOCKS:
        parts = [w[i : i + size] for i in range(0, len(w) - size + 1, size)]
        if len(parts) < 3:
            continue
        means, spreads = np.array([part.mean() for part in parts]), log([part.std() for part in parts])
        scaled = (means - np.median(w)) / scale * np.sqrt(size)
        e |= moments(f"blocks.{size}.scaled_mean", scaled) | moments(f"blocks.{size}.log_std", spreads)
        of = {"mean": means, "scaled_mean": scaled, "log_std": spreads, "positive": [np.mean(part > 0) for part in parts]}
        for name, x in of.items():
            e |= percentiles(f"blocks.{size}.{name}", (0, 10, 50, 90, 100), np.array(x))
        steps = np.abs(np.diff(spreads))
        e |= {f"blocks.{size}.step_above_{limit}": np.mean(steps > limit) for limit in (0.15, 0.5)}
        e[f"blocks.{size}.step_max"] = steps.max()
    return e


def runs(w: np.ndarray, median: float) -> dict[str, float]:
    masks = {"positive": w > 0, "negative": w < 0, "near_one": (w > 0.3) & (w < 2), "one": (w > 0.8) & (w < 1.2)}
    masks |= {"small": np.abs(w) < 0.01, "large": w > 2, "equal": w[1:] == w[:-1]}
    e = {f"runs.{name}": longest(mask) for name, mask in masks.items()}
    changes = {"sign": w > 0, "median": w.astype(np.float64) > median}
    return e | {f"runs.{name}_changes": np.mean(mask[1:] != mask[:-1]) for name, mask in changes.items()}


@pytest.mark.parametrize("length", [16, 100, 1600])
def test_the_definitions(length: int) -> None:
    window = draw(length)
    got, expected = found(window), oracle(window)
    assert {name for name in got if not name.startswith("norms.")} == set(expected)
    np.testing.assert_allclose([got[name] for name in expected], list(expected.values()), rtol=1e-6, atol=1e-9)


def test_a_row_depends_on_its_window_alone() -> None:
    windows = np.stack([draw(5000, seed) for seed in range(54)])  # more than one chunk
    together = window_statistics(windows)
    for rows in ([0], [3, 52, 53], range(50, 54)):
        np.testing.assert_array_equal(window_statistics(windows[list(rows)]), together[list(rows)])


def norm_vectors(units: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.standard_normal((5, units)) * np.array([[0.01], [0.1], [0.05], [0.4], [0]])
    vectors[2] += 1
    vectors[4] = rng.lognormal(-1, 0.7, units)
    return vectors.astype(np.float32)


@pytest.mark.parametrize("units", [8, 32, 192])
def test_norm_vectors_are_found_wherever_they_lie(units: int) -> None:
    rng = np.random.default_rng(units)
    vectors = norm_vectors(units, rng)
    for start in (0, 777, 2000 - 5 * units):
        window = (0.05 * rng.standard_normal(2000)).astype(np.float32)
        window[start : start + 5 * units] = vectors.reshape(-1)
        got, x = found(window), vectors.astype(np.float64)
        assert got["norms.units"] == units
        assert got["norms.cost"] == pytest.approx((np.abs(x[2] - 1).mean() + 0.02) / units**0.5)
        for name, y in zip(("bias", "beta", "gamma", "mean", "variance"), x, strict=True):
            expected = {"mean": y.mean(), "min": y.min(), "max": y.max()}
            expected |= {"log_std": log(y.std()), "log_size": log(np.abs(y).mean())}
            assert {kind: got[f"norms.{name}.{kind}"] for kind in expected} == pytest.approx(expected)
        assert got["norms.variance.std_log"] == pytest.approx(log(x[4]).std())


def test_kernels_hold_no_norm_vectors() -> None:
    got = found(0.05 * np.random.default_rng(0).standard_normal(2000))
    assert got["norms.units"] == 0
    assert all(np.isnan(x) == (name.startswith("norms.") and name != "norms.units") for name, x in got.items())


@pytest.mark.parametrize("value", [0, 0.1, -3e38])
def test_equal_values(value: float) -> None:
    got = found(np.full(5000, value))
    assert np.isfinite([x for name, x in got.items() if not name.startswith("norms.")]).all()
    assert got["repeats.share"] == 1 and got["repeats.most"] == got["runs.equal"] == 4999
    assert got["values.mean"] == got["values.w_p50"] == np.float32(value)
    np.testing.assert_allclose([x for name, x in got.items() if "skewness" in name or "kurtosis" in name], 0, atol=1e-30)
