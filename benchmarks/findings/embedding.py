"""Where trainings lie in the space of their convolutional weights: ten principal components, then UMAP to two dimensions.

All snapshots of all finite trainings of the population ``fixed``, conv part alone (16,880 values). Twice: on the values as
they are, as in the paper, and on asinh(20 w). Of the values as they are, running variances of batch norm, which grow to
hundreds while kernels stay below 1, make up nearly all variance; the second tames them.
How well a hyper-parameter is separated is measured by its ten nearest neighbours, of other trainings alone.
Source: Eilertsen et al. 2020, Supplement B, Figure 13.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.spatial import cKDTree

import nws_data
from benchmarks.findings.source import MissingDataError, Source, value_order
from benchmarks.findings.tables import Tables, where
from nws_data.plot import style
from nws_data.progress import progress_bar
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.tasks.metrics import Sums, clustered_accuracy, clustered_regression

N_COMPONENTS = 10
N_NEIGHBOURS = 10
MIN_TRAININGS = 10
SEED = 0

INPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"raw": lambda w: w, "asinh": lambda w: np.arcsinh(20 * w)}
"""What the weights enter as."""

FACTORS = tuple(name for name in CLASSES if name not in FIXED_ARCHITECTURE)
NUMBERS = ("learning_rate", "progress", "test_error")
_PANELS = ("dataset", "learning_rate", *(name for name in FACTORS if name != "dataset"), "progress", "test_error")
_BATCH = 512  # vectors in memory at a time, as float64: 70 MB
_SPARE = 20  # columns of the iteration beyond the components that are wanted
_MAX_PASSES = 30

Batches = Callable[[], Iterator[np.ndarray]]


def measure(source: Source) -> Tables:
    """Return the points, the share of variance by component and kind of weight, and the separation of each label."""
    if find_spec("umap") is None:
        raise MissingDataError("needs umap-learn; install it in the checkout: pip install -e '.[umap]'")
    source.check_snapshots()
    data = nws_data.open(source.root, "fixed").select(finite=True)
    n = len(np.unique(data["training"]))
    if n < MIN_TRAININGS:
        raise MissingDataError(
            f"needs at least {MIN_TRAININGS} finite trainings of the population fixed, {source.root} has {n}; build more"
        )
    labels = {name: data[name] for name in ("training", "snapshot", *FACTORS, "learning_rate", "progress")}
    points = pd.DataFrame(labels).assign(test_error=1 - data["test_accuracy"])
    variances, separations = [], []
    for name, transform in INPUTS.items():
        parts, scores = _components(data, transform)
        variances.append(parts.assign(input=name))
        plane = embed(scores)
        points[[f"{name}_x", f"{name}_y"]] = plane
        for space, places in (("10 components", scores), ("UMAP", plane)):
            separations.append(separation(points, places).assign(input=name, space=space))
    return {"points": points, "variance": pd.concat(variances), "separation": pd.concat(separations)}


def _components(data: Any, transform: Callable) -> tuple[pd.DataFrame, np.ndarray]:
    """Return shares of variance, of components and of kinds of weight, and the scores ``(n, 10)``."""
    view = nws_data.GlobalVectors(data, length=int(data["n_weights_conv"][0]))

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, len(view), _BATCH):
            yield transform(view[first : first + _BATCH][0].numpy().astype(np.float64))

    shares, scores, by_column = principal_components(batches, view.length)
    kinds: dict[str, float] = {}
    for layer in data.architectures()[0][0].layers:
        for tensor in layer.tensors if layer.is_conv else ():
            kinds[tensor.kind] = kinds.get(tensor.kind, 0.0) + float(by_column[tensor.slice].sum())
    rows = [("component", str(i + 1), share) for i, share in enumerate(shares)]
    rows += [("kind", kind, share) for kind, share in kinds.items()]
    return pd.DataFrame(rows, columns=["of", "name", "share"]), scores


def principal_components(batches: Batches, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first ten principal components of vectors that do not fit into memory, by subspace iteration.

    The subspace is iterated until the variance that it holds grows by less than a millionth; each iteration passes once
    over the data. Each call of ``batches`` yields all vectors anew, float64 ``(some, length)``.

    Returns:
        Shares of the variance ``(10,)``, scores ``(n, 10)``, and each value's share of the variance ``(length,)``. A
        component's sign makes its largest loading positive.
    """
    n, mean = 0, np.zeros(length)
    for batch in batches():
        n, mean = n + len(batch), mean + batch.sum(axis=0)
    mean /= n
    basis = np.linalg.qr(np.random.default_rng(SEED).standard_normal((length, min(N_COMPONENTS + _SPARE, length))))[0]
    held = 0.0
    by_column = np.zeros(length)
    for _ in progress_bar(iterable=range(_MAX_PASSES), desc="passes of PCA"):
        product = np.zeros_like(basis)
        by_column[:] = 0
        for batch in batches():
            centred = batch - mean
            by_column += (centred**2).sum(axis=0)
            product += centred.T @ (centred @ basis)
        values, turn = np.linalg.eigh(basis.T @ product)
        order = np.argsort(values)[::-1]
        before, held = held, float(values[order][:N_COMPONENTS].sum())
        directions = (basis @ turn[:, order])[:, :N_COMPONENTS]
        if held - before <= 1e-6 * held:
            break
        basis = np.linalg.qr(product)[0]
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    scores = np.concatenate([(batch - mean) @ directions for batch in batches()])
    total = by_column.sum() or 1.0
    return values[order][:N_COMPONENTS] / total, scores, by_column / total


def embed(scores: np.ndarray) -> np.ndarray:
    """Return UMAP's embedding of points ``(n, 10)`` in the plane, ``(n, 2)``; the same for the same points."""
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed takes one thread, and numba's own
        found = UMAP(n_components=2, random_state=SEED, n_jobs=1).fit_transform(scores.astype(np.float32))
    return np.asarray(found, np.float64)


def separation(points: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
    """Return how well neighbours of other trainings tell each label.

    A class is what most of the ten nearest points of other trainings have, a number their mean.

    ``points`` has a row a snapshot, with ``training``, ``snapshot``, :data:`FACTORS` and :data:`NUMBERS`; ``places``
    ``(n, dimensions)`` are theirs.

    Returns:
        Rows ``label, snapshots, measure, value, low, high, chance``: of all snapshots as queries, and of the last alone;
        accuracy, by chance the largest class's share, or R², by chance 0; intervals are 95 %, clustered by training.
    """
    near = neighbours(places, points["training"].to_numpy())
    rows = []
    for snapshots in ("all", "last"):
        asked = np.flatnonzero(points["snapshot"] == N_SNAPSHOTS - 1) if snapshots == "last" else np.arange(len(points))
        _, of = np.unique(points["training"].to_numpy()[asked], return_inverse=True)
        for label in (*FACTORS, *NUMBERS):
            if (label == "progress" and snapshots == "last") or points[label].nunique() < 2:
                continue
            rows.append({"label": label, "snapshots": snapshots} | _told(points[label].to_numpy(), near, asked, of))
    return pd.DataFrame(rows)


def neighbours(places: np.ndarray, trainings: np.ndarray) -> np.ndarray:
    """Return the ten points of other trainings nearest to each point, int64 ``(n, 10)``, by Euclidean distance."""
    own = int(np.unique(trainings, return_counts=True)[1].max())
    _, of = np.unique(trainings, return_inverse=True)
    found = cKDTree(places).query(places, k=min(N_NEIGHBOURS + own, len(places)))[1]
    other = of[found] != of[:, None]
    return np.take_along_axis(found, np.argsort(~other, axis=1, kind="stable")[:, :N_NEIGHBOURS], axis=1)


def _told(values: np.ndarray, near: np.ndarray, asked: np.ndarray, of: np.ndarray) -> dict[str, Any]:
    count = np.bincount(of)
    if values.dtype.kind == "f":
        truth, error = values[asked], values[near[asked]].mean(axis=1) - values[asked]
        sums = [np.bincount(of, weights=column) for column in (truth, truth**2, error**2, np.abs(error))]
        measure, chance, found = "R²", 0.0, clustered_regression(Sums(count, *sums))[0]
    else:
        names, codes = np.unique(values, return_inverse=True)
        votes = (codes[near[asked]][:, :, None] == np.arange(len(names))).sum(axis=1)
        right = np.bincount(of, weights=votes.argmax(axis=1) == codes[asked])
        measure, chance, found = "accuracy", np.bincount(codes[asked]).max() / len(asked), clustered_accuracy(count, right)
    return {"measure": measure, "value": found.estimate, "low": found.low, "high": found.high, "chance": chance}


def draw(tables: Tables) -> dict[str, Figure]:
    """Return the embedding of each input in the colours of every label, and the separations."""
    points = tables["points"]
    pictures = {name: _draw_plane(points, tables, name) for name in INPUTS}
    return pictures | {"separation": _draw_separation(tables["separation"])}


def _draw_plane(points: pd.DataFrame, tables: Tables, name: str) -> Figure:
    figure, axes = style.grid(3, 3, 3.7, 3.4)
    mixed = points.iloc[np.random.default_rng(SEED).permutation(len(points))]  # so that no class lies on top
    x, y = mixed[f"{name}_x"], mixed[f"{name}_y"]
    size = float(np.clip(20_000 / len(points), 0.8, 7))
    for panel, label in zip((panel for line in axes for panel in line), _PANELS, strict=True):
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        dots: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
        row = _row(tables["separation"], name, "UMAP", label)
        if label in NUMBERS:
            scale, unit = (100, " (%)") if label != "learning_rate" else (1, "")
            image = panel.scatter(x, y, c=scale * mixed[label], cmap=style.MAP, **dots)
            figure.colorbar(image, ax=panel, location="bottom", shrink=0.8, pad=0.02, label=f"{_words(label)}{unit}")
        else:
            _draw_classes(panel, mixed[label], x, y, dots)
        panel.set_title(f"{_words(label)}{row}", fontsize=9)
    input = "values as they are" if name == "raw" else "asinh(20 w)"
    title = f"UMAP of ten components of conv weights, {input}: {len(points):,} snapshots of {points['training'].nunique():,}"
    figure.suptitle(f"{title} trainings", fontsize=10)
    return figure


def _draw_classes(panel: Axes, values: pd.Series, x: pd.Series, y: pd.Series, dots: dict[str, Any]) -> None:
    names = value_order(str(values.name), values)
    colours = {value: style.COLOURS[i % len(style.COLOURS)] for i, value in enumerate(names)}
    panel.scatter(x, y, c=[colours[value] for value in values], **dots)
    handles = [Line2D([], [], linestyle="", marker="o", color=colours[value], label=str(value)) for value in names]
    columns = 2 if len(names) > 3 else 3
    panel.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, fontsize=8)


def _row(table: pd.DataFrame, input: str, space: str, label: str) -> str:
    """Return a label's separation over all snapshots, for a title."""
    found = where(table, input=input, space=space, label=label, snapshots="all")
    if not len(found):
        return ": one value"
    row = found.iloc[0]
    if row["measure"] == "R²":
        return f": R² {row['value']:.2f}"
    return f": neighbours tell {row['value']:.0%}, chance {row['chance']:.0%}"


def _words(label: str) -> str:
    return label.replace("_", " ")


def _draw_separation(table: pd.DataFrame) -> Figure:
    figure, axes = style.grid(1, 2, 5.7, 4.2, sharey=True, sharex=True)
    labels = [label for label in _PANELS if label in set(table["label"])]
    kinds = [(name, space) for name in INPUTS for space in ("10 components", "UMAP")]
    for panel, snapshots in zip(axes[0], ("all", "last"), strict=True):
        for i, (name, space) in enumerate(kinds):
            rows = where(table, input=name, space=space, snapshots=snapshots).set_index("label").reindex(labels)
            y = np.arange(len(labels)) + 0.18 * (i - 1.5)
            value, low, high = (100 * rows[key].to_numpy(float) for key in ("value", "low", "high"))
            error = np.abs(np.stack([value - low, high - value]))
            text = f"{'as they are' if name == 'raw' else 'asinh(20 w)'}, {space}"
            panel.errorbar(value, y, xerr=error, fmt="os^D"[i], color=style.COLOURS[i], markersize=4, label=text)
        chance = 100 * rows["chance"].to_numpy(float)
        panel.vlines(chance, np.arange(len(labels)) - 0.4, np.arange(len(labels)) + 0.4, color=style.INK, label="chance")
        panel.set_yticks(range(len(labels)), [f"{_words(v)}{' (R²)' if v in NUMBERS else ''}" for v in labels])
        panel.set(xlabel="accuracy (%), or 100 R²", title=f"{'All' if snapshots == 'all' else 'Last'} snapshots")
        panel.set_xlim(max(-105, min(-5, 100 * table["low"].min() - 5)), 102)
    axes[0][0].invert_yaxis()
    handles, texts = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def tell(tables: Tables) -> str:
    """Return the variance that the components hold, and what neighbours in the plane tell."""
    return " ".join(_tell(tables, name) for name in INPUTS)


def _tell(tables: Tables, name: str) -> str:
    variance, table = tables["variance"], tables["separation"]
    own = where(variance, input=name)
    held = own.loc[own["of"] == "component", "share"].sum()
    kinds = own[own["of"] == "kind"].set_index("name")["share"].sort_values(ascending=False)
    classes = where(table, input=name, space="UMAP", snapshots="all", measure="accuracy")
    gain = classes.assign(over=classes["value"] - classes["chance"]).sort_values(["over", "value"], ascending=False)
    sure = [
        f"{_words(row.label)} ({row.value:.0%}, interval {row.low:.0%} to {row.high:.0%}, chance {row.chance:.0%})"
        for row in gain.itertuples()
        if row.low > row.chance
    ]
    rest = [_words(row.label) for row in gain.itertuples() if row.low <= row.chance]
    words = "Of the values as they are" if name == "raw" else "Of asinh(20 w)"
    text = (
        f"{words}, ten components hold {held:.1%} of the variance ({kinds.iloc[0]:.0%} of all lies in "
        f"{_KINDS[kinds.index[0]]}); in the plane the nearest snapshots of other trainings tell "
        f"{', '.join(sure) or 'no hyper-parameter above chance'}"
    )
    return text + (f"; not told above chance: {', '.join(rest)}." if sure and rest else ".")


_KINDS = {
    "kernel": "the kernels",
    "bias": "the biases",
    "beta": "batch norm's offsets",
    "gamma": "batch norm's factors",
    "mean": "batch norm's running means",
    "variance": "batch norm's running variances",
}
