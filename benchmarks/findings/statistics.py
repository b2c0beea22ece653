"""How the trainings went: learning curves, accuracies, pairs of hyper-parameters, sizes and times.

Source: Eilertsen et al. 2020, Supplement A.3, Figures 6 to 12.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import find_peaks

from benchmarks.findings.panels import heat
from benchmarks.findings.source import Source, value_order
from benchmarks.findings.tables import Tables, where
from nws_data.format.metadata import read_table
from nws_data.plot import style
from nws_data.space.hyperparameters import CLASSES
from nws_data.terminal import align

PAIRS = (
    ("initialization", "activation"),
    ("initialization", "optimizer"),
    ("initialization", "augmentation"),
    ("optimizer", "activation"),
)
"""Rows and columns of the tables of mean accuracies (Figures 9 to 12)."""

_SIDES = {"train": "#d55e00", "validation": "#e69f00", "test": "#0072b2"}
_PROGRESS = np.linspace(0, 100, 51)
_BANDWIDTH = 0.02
"""Standard deviation of the smoothing of accuracy distributions, as accuracy."""


def measure(source: Source) -> Tables:
    """Return curves, their means, final accuracies, distributions with their peaks, and mean accuracies of pairs."""
    frame = source.trainings()
    provenance = read_table(source.root, source.manifest, source.manifest.provenance).to_pandas()
    frame = frame.merge(provenance[["training", "wall_s"]], on="training", how="left")
    columns = ["training", "dataset", "threshold", "final_test_accuracy", "n_weights", "n_epochs", "wall_s"]
    pairs = [pair_table(group, *pair).assign(dataset=name) for name, group in frame.groupby("dataset") for pair in PAIRS]
    return {
        "trainings": frame[columns],
        "curves": curves(frame),
        "means": mean_curves(frame),
        "modes": modes(frame),
        "pairs": pd.concat(pairs, ignore_index=True),
    }


def resample(curve: np.ndarray) -> np.ndarray:
    """Return a learning curve, one value an evaluation, at 51 points of relative progress."""
    return np.interp(_PROGRESS, np.linspace(0, 100, len(curve)), curve)


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each training's test accuracy over relative progress: one row a training, one column each 2 %."""
    values = np.stack([resample(curve) for curve in frame["test_accuracy"]]).round(4)
    table = pd.DataFrame(values, columns=[f"{p:.0f}" for p in _PROGRESS])
    return pd.concat([frame[["training", "dataset"]].reset_index(drop=True), table], axis=1)


def mean_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean train, validation and test accuracy of each image set over relative progress."""
    rows = []
    for name, group in frame.groupby("dataset"):
        means = {side: np.mean([resample(c) for c in group[f"{side}_accuracy"]], axis=0) for side in _SIDES}
        rows.append(pd.DataFrame({"dataset": name, "progress": _PROGRESS} | means))
    return pd.concat(rows, ignore_index=True)


def density(accuracies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points of [0, 1] and the smoothed distribution of accuracies there, which integrates to about 1."""
    points = np.linspace(0, 1, 401)
    kernels = np.exp(-0.5 * ((points[:, None] - accuracies[None]) / _BANDWIDTH) ** 2)
    return points, kernels.mean(1) / (_BANDWIDTH * np.sqrt(2 * np.pi))


def modes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each image set's threshold, share of trainings above it, and the peaks of the distribution on either side.

    A peak is a local maximum of the smoothed distribution that stands for at least 3 % of the trainings, within two
    bandwidths; below the threshold at most the two highest count, above it the highest.
    """
    rows = []
    for name, group in frame.groupby("dataset"):
        accuracy, threshold = group["final_test_accuracy"].to_numpy(float), float(group["threshold"].iloc[0])
        points, height = density(accuracy)
        near = (np.abs(accuracy - points[:, None]) < 2 * _BANDWIDTH).mean(axis=1)
        places = [p for p in find_peaks(np.pad(height, 1))[0] - 1 if near[p] >= 0.03]
        places.sort(key=lambda p: -height[p])
        failed = sorted([points[p] for p in places if points[p] <= threshold][:2])
        passed = [points[p] for p in places if points[p] > threshold]
        found = {"dataset": name, "trainings": len(group), "threshold": threshold, "passed": float(group["passed"].mean())}
        first, second, *_ = [*failed, np.nan, np.nan]
        peaks = {"failure_peak": first, "failure_peak_2": second, "success_peak": passed[0] if passed else np.nan}
        rows.append(found | peaks)
    return pd.DataFrame(rows)


def pair_table(frame: pd.DataFrame, row: str, column: str) -> pd.DataFrame:
    """Return mean final test accuracy in [0, 1] and number of trainings for each combination of two hyper-parameters."""
    groups = frame.groupby([row, column])["final_test_accuracy"]
    table = groups.agg(accuracy="mean", trainings="size").reset_index()
    named = {row: "row_value", column: "column_value"}
    return table.rename(columns=named).assign(row=row, column=column).astype({"row_value": str, "column_value": str})


def format_pair_table(frame: pd.DataFrame, row: str, column: str) -> list[str]:
    """Return :func:`pair_table` as lines: percent, and how many trainings; a dash where there is none."""
    values, counts, rows, columns = _matrix(pair_table(frame, row, column))
    cells = _cells(values, counts, "{:.0f} ({:.0f})", "-")
    return align([["", *columns], *([name, *line] for name, line in zip(rows, cells, strict=True))])


def _cells(values: np.ndarray, counts: np.ndarray, text: str, none: str) -> list[list[str]]:
    pairs = (zip(*lines, strict=True) for lines in zip(100 * values, counts, strict=True))
    return [[text.format(value, count) if count else none for value, count in line] for line in pairs]


def _matrix(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Return means and counts of a pair as matrices, with the names of rows and columns in the order of Table 1."""
    rows, columns = ([str(value) for value in CLASSES[table[name].iloc[0]]] for name in ("row", "column"))
    both = table.pivot_table(index="row_value", columns="column_value", values=["accuracy", "trainings"])
    values, counts = (both[name].reindex(index=rows, columns=columns).to_numpy(float) for name in ("accuracy", "trainings"))
    return values, np.nan_to_num(counts), rows, columns


def draw(tables: Tables) -> dict[str, Figure]:
    """Return learning curves, accuracies, pairs, sizes and times."""
    return {
        "curves": _draw_curves(tables["curves"], tables["means"]),
        "accuracies": _draw_accuracies(tables["trainings"], tables["modes"]),
        "pairs": _draw_pairs(tables["pairs"]),
        "sizes": _draw_sizes(tables["trainings"]),
    }


def _draw_curves(every: pd.DataFrame, means: pd.DataFrame) -> Figure:
    names = value_order("dataset", every["dataset"])
    figure, (axes,) = style.grid(1, len(names), 2.9, 3.0, sharey=True)
    for panel, name in zip(axes, names, strict=True):
        own = where(every, dataset=name).drop(columns=["training", "dataset"]).to_numpy(float)
        alpha = float(np.clip(20 / len(own), 0.05, 0.4))
        panel.plot(_PROGRESS, 100 * own.T, color="#888888", alpha=alpha, linewidth=0.6, rasterized=True)
        mean = where(means, dataset=name)
        for side, colour in _SIDES.items():
            panel.plot(mean["progress"], 100 * mean[side], color=colour, linewidth=2, label=f"mean {side}")
        panel.set_title(f"{name} ({len(own):,} trainings)")
        panel.set(xlabel="progress of the training (%)", xlim=(0, 100), ylim=(0, 100))
    axes[0].set_ylabel("accuracy (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_accuracies(trainings: pd.DataFrame, found: pd.DataFrame) -> Figure:
    names = value_order("dataset", trainings["dataset"])
    figure, (axes,) = style.grid(1, len(names), 2.9, 2.6)
    for panel, name in zip(axes, names, strict=True):
        accuracy = where(trainings, dataset=name)["final_test_accuracy"].to_numpy(float)
        row = found.set_index("dataset").loc[name]
        panel.hist(100 * accuracy, bins=np.linspace(0, 100, 51).tolist(), density=True, color=style.COLOURS[4])
        points, height = density(accuracy)
        panel.plot(100 * points, height / 100, color=style.COLOURS[0], linewidth=1.8)
        panel.axvline(100 * row["threshold"], color=style.COLOURS[5], linestyle="--")
        panel.set_title(f"{name}: {row['passed']:.0%} pass {row['threshold']:.0%}")
        panel.set(xlabel="final test accuracy (%)", xlim=(0, 100), yticks=[])
    axes[0].set_ylabel("density of trainings")
    return figure


def _draw_pairs(table: pd.DataFrame) -> Figure:
    names = value_order("dataset", table["dataset"])
    figure, axes = style.grid(len(PAIRS), len(names), 3.1, 2.3)
    for line, (row, column) in zip(axes, PAIRS, strict=True):
        for panel, name in zip(line, names, strict=True):
            draw_pair(panel, where(table, dataset=name, row=row, column=column))
            panel.set_title(f"{name}: accuracy (%)")
    return figure


def draw_pair(panel: Axes, table: pd.DataFrame) -> None:
    """Draw a :func:`pair_table` as coloured cells with percent and counts; grey where there is no training."""
    values, counts, rows, columns = _matrix(table)
    texts = _cells(values, counts, "{:.0f}\n({:.0f})", "none")
    heat(panel, 100 * values, texts, [row.replace("_", "\n") for row in rows], columns, 0, 100)
    panel.set(xlabel=table["column"].iloc[0])


def _draw_sizes(trainings: pd.DataFrame) -> Figure:
    figure, ((weights, times, epochs),) = style.grid(1, 3, 3.6, 2.5)
    weights.hist(trainings["n_weights"] / 1000, bins=40, color=style.COLOURS[0])
    weights.set(xlabel="weights (thousands)", ylabel="trainings", title="Size")
    times.hist(np.log10(trainings["wall_s"].dropna().clip(lower=1e-3)), bins=40, color=style.COLOURS[2])
    times.xaxis.set_major_formatter(lambda value, _: f"{10**value:,.3g}")
    times.set(xlabel="seconds (logarithmic)", ylabel="trainings", title="Time on the machine that built it")
    epochs.hist(trainings["n_epochs"], bins=40, color=style.COLOURS[1])
    epochs.set(xlabel="epochs", ylabel="trainings", title="Length until it stopped")
    return figure


def tell(tables: Tables) -> str:
    """Return the share that passes, the peaks of failures, and the best and worst combination."""
    found, pairs = tables["modes"], tables["pairs"]
    passed = float((found["passed"] * found["trainings"]).sum() / found["trainings"].sum())
    peaks = "; ".join(f"{row.dataset} {_percents(row.failure_peak, row.failure_peak_2)}" for row in found.itertuples())
    first = where(pairs, row="initialization", column="activation")
    sums = first.assign(right=first["accuracy"] * first["trainings"]).groupby(["row_value", "column_value"])
    groups = sums["right"].sum() / sums["trainings"].sum()
    best, worst = groups.idxmax(), groups.idxmin()
    return (
        f"Of {int(found['trainings'].sum()):,} trainings {passed:.0%} pass the threshold of their image set. Peaks of "
        f"failures: {peaks}. Best on average is {best[0]} with {best[1]} ({groups[best]:.0%}), worst {worst[0]} with "
        f"{worst[1]} ({groups[worst]:.0%})."
    )


def _percents(*values: float) -> str:
    return " and ".join(f"{100 * value:.0f} %" for value in values if np.isfinite(value)) or "none"
