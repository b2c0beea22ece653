"""How fast statistics features are computed, against a plain loop: ``python -m benchmarks.speed.features``.

The loop is what one would write first with numpy and scipy: snapshot by snapshot and piece by piece ``np.mean``,
``np.var``, ``scipy.stats.skew`` and one ``np.percentile`` of all five, on the values and on their ``np.gradient``, in
float64. Both read the same mapped files, without the cache, on one thread each; the ratio is the median of alternating
rounds. Three comparisons: 480 features of layers (the bar is for these), 16 of whole vectors, 16 of the ten official
windows of 5,000 values. Takes three to six minutes and 190 MB in a temporary folder.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.made_up import write_random_dataset
from benchmarks.speed.alternate import Setup, Work, alternate, command_line, compared, count, show
from nws_data.features.extract import statistics_features
from nws_data.features.statistics import PERCENTILES
from nws_data.read.dataset import open as open_dataset
from nws_data.read.views import FixedWindows, GlobalVectors, WeightView
from nws_data.space.architecture import Architecture
from nws_data.space.trajectory import N_SNAPSHOTS

KINDS = ("layers", "vectors", "windows")
BAR = 5.0
"""How many times faster features of layers must be."""


def make_view(root: Path, kind: str, n: int) -> WeightView:
    """Return the view of the first n snapshots of the population fixed; a tenth of them for windows, which are ten each."""
    data = open_dataset(root, "fixed")
    data = data.take(np.arange(min(len(data), max(1, n // 10) if kind == "windows" else n)))
    return FixedWindows(data) if kind == "windows" else GlobalVectors(data)


def loop_features(view: WeightView, kind: str) -> np.ndarray:
    """Return the features as a plain loop computes them, float64 ``(len(view), 16 * pieces)``."""
    from scipy.stats import skew

    pieces = [slice(None)]
    if kind == "layers":
        layers = Architecture.of(view.data.hyperparameters(0)).layers
        pieces = [tensor.slice for layer in layers if not layer.is_output for tensor in layer.tensors]
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


def batched_features(view: WeightView, kind: str) -> np.ndarray:
    """Return the features as the library computes them, without its cache."""
    return statistics_features(view, "layers" if kind == "layers" else "vector", cache=False)


def contender(compute: str, root: Path, kind: str, n: int) -> Work:
    """Return the work of the function of this name."""
    torch.set_num_threads(1)
    function = {"loop": loop_features, "batched": batched_features}[compute]
    return partial(function, make_view(root, kind, n), kind)


def compare(root: Path, kind: str, n: int, rounds: int) -> dict[str, object]:
    """Time both on one kind of features, and compare what they compute of a few items."""
    contenders: dict[str, Setup] = {name: partial(contender, name, root, kind, n) for name in ("loop", "batched")}
    times = alternate(contenders, rounds)
    few = make_view(root, kind, 10)
    expected, found = loop_features(few, kind), batched_features(few, kind)
    return {
        "kind": kind,
        "items": len(make_view(root, kind, n)),
        "features": expected.shape[1],
        **compared(times["loop"], times["batched"]),
        "bar": BAR if kind == "layers" else None,
        "largest_difference": float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3))),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = command_line(__doc__)
    parser.add_argument("--snapshots", type=count, default=500, help="how many (default %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which comparisons (default: all)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "nws"
        write_random_dataset(root, -(-options.snapshots // N_SNAPSHOTS))
        rows = [compare(root, kind, options.snapshots, options.rounds) for kind in options.kinds]
    show(rows, options.json)


if __name__ == "__main__":
    main()
