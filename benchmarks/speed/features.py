"""How fast statistics features are computed, against a plain loop: ``python -m benchmarks.speed.features``.

The loop is what one would write first with numpy and scipy: snapshot by snapshot and piece by piece ``np.mean``,
``np.var``, ``scipy.stats.skew`` and one ``np.percentile`` of all five, on the values and on their ``np.gradient``, in
float64. Both read the same mapped files, without the cache, on one thread each; every contender has a process of its own,
they run in turns, and the median of the ratios counts. Three comparisons: 480 features of layers (the bar is for these), 16
of whole vectors, 16 of the ten official windows of 5,000 values. Takes three to six minutes and 190 MB in a temporary
folder; peak memory counts mapped pages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.alternate import Setup, Timing, Work, alternate, ratios
from benchmarks.speed.loading_data import write_random_dataset
from nws_data.errors import SelectionError
from nws_data.features.extract import statistics_features
from nws_data.features.statistics import PERCENTILES
from nws_data.read.dataset import open as open_dataset
from nws_data.read.views import FixedWindows, GlobalVectors, WeightView
from nws_data.space.architecture import Architecture
from nws_data.space.trajectory import N_SNAPSHOTS

N_SNAPSHOTS_READ = 500
KINDS = ("layers", "vectors", "windows")
BAR = 5.0
"""How many times faster features of layers must be."""


def make_view(root: Path, kind: str, n: int) -> WeightView:
    """Return the view of the first n snapshots of the population fixed; a tenth of them for windows, which are ten each."""
    data = open_dataset(root, "fixed")
    data = data.take(np.arange(min(len(data), max(1, n // 10) if kind == "windows" else n)))
    return FixedWindows(data) if kind == "windows" else GlobalVectors(data)


def item_pieces(view: WeightView, kind: str) -> list[slice]:
    """Return the pieces of an item, each of which gives 16 features."""
    if kind != "layers":
        return [slice(None)]
    layers = Architecture.of(view.data.hyperparameters(0)).layers
    return [tensor.slice for layer in layers if not layer.is_output for tensor in layer.tensors]


def loop_features(view: WeightView, pieces: list[slice]) -> np.ndarray:
    """Return the features as a plain loop computes them, float64 ``(len(view), 16 * pieces)``."""
    from scipy.stats import skew

    rows = []
    for item in range(len(view)):
        weights = view[item][0].numpy()
        row: list[float] = []
        for piece in pieces:
            values = weights[piece].astype(np.float64)
            for x in (values, np.gradient(values)):
                skewness = 0.0 if x.min() == x.max() else float(skew(x))
                row += [float(np.mean(x)), float(np.var(x)), skewness, *np.percentile(x, PERCENTILES)]
        rows.append(row)
    return np.array(rows)


def loop(root: Path, kind: str, n: int) -> Work:
    """The baseline."""
    torch.set_num_threads(1)
    view = make_view(root, kind, n)
    pieces = item_pieces(view, kind)

    def work() -> None:
        loop_features(view, pieces)

    return work


def batched(root: Path, kind: str, n: int) -> Work:
    """The library, without its cache."""
    torch.set_num_threads(1)
    view = make_view(root, kind, n)

    def work() -> None:
        statistics_features(view, "layers" if kind == "layers" else "vector", cache=False)

    return work


def agreement(root: Path, kind: str) -> float:
    """Return the largest difference of both over a few items, relative to the loop's value or 1e-3."""
    view = make_view(root, kind, 10)
    expected = loop_features(view, item_pieces(view, kind))
    found = statistics_features(view, "layers" if kind == "layers" else "vector", cache=False)
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3)))


def compare(root: Path, kind: str, n: int, rounds: int) -> dict[str, object]:
    """Time both on one kind of features; return figures as JSON values."""
    contenders: dict[str, Setup] = {name: partial(f, root, kind, n) for name, f in (("loop", loop), ("batched", batched))}
    timings: dict[str, Timing] = alternate(contenders, rounds)
    found = ratios(timings["loop"], timings["batched"])
    view = make_view(root, kind, n)
    return {
        "kind": kind,
        "items": len(view),
        "features": 16 * len(item_pieces(view, kind)),
        "ratio": statistics.median(found),
        "lowest": min(found),
        "highest": max(found),
        "bar": BAR if kind == "layers" else None,
        "loop_ms": 1e3 * timings["loop"].median_s / len(view),
        "batched_ms": 1e3 * timings["batched"].median_s / len(view),
        "peak_mb": {name: timing.peak_mb for name, timing in timings.items()},
        "largest_difference": agreement(root, kind),
    }


def render(results: list[dict[str, object]]) -> str:
    """Return the results as text."""
    lines = [
        f"{'pieces':8} {'items':>6} {'features':>8} {'ratio':>7} {'(range)':>14} {'bar':>4} {'loop':>10} {'batched':>10}"
    ]
    for r in results:
        span, bar = f"{r['lowest']:.1f}-{r['highest']:.1f}", "" if r["bar"] is None else f"{r['bar']:.0f}"
        times = f"{r['loop_ms']:7.2f} ms {r['batched_ms']:7.3f} ms"
        lines.append(f"{r['kind']:8} {r['items']:6} {r['features']:8} {r['ratio']:7.1f} {span:>14} {bar:>4} {times} an item")
    for r in results:
        peaks = ", ".join(f"{name} {peak:.0f} MB" for name, peak in r["peak_mb"].items())  # type: ignore[attr-defined]
        lines.append(f"{r['kind']}: peak memory {peaks}; largest relative difference {r['largest_difference']:.1e}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.features", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a dataset with the population fixed (default: a made-up one)")
    parser.add_argument("--snapshots", type=int, default=N_SNAPSHOTS_READ, help="how many (default %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which comparisons (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if options.snapshots < 1 or options.rounds < 1:
        raise SelectionError("--snapshots and --rounds must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or Path(folder) / "nws"
        if not options.data:
            write_random_dataset(root, -(-options.snapshots // N_SNAPSHOTS))
        results = [compare(root, kind, options.snapshots, options.rounds) for kind in options.kinds]
    print(json.dumps(results, indent=1) if options.json else render(results))


if __name__ == "__main__":
    main()
