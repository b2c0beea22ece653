"""How the trainings of a dataset went: learning curves, final accuracies, accuracy by hyper-parameters, as one picture.

python -m benchmarks.findings.training_statistics FOLDER [--population random] [--out FILE.png]

Source: Eilertsen et al. 2020, Supplement A.3, Figures 7 to 9.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nws_data
from nws_data.space.hyperparameters import CLASSES
from nws_data.terminal import align

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLOURS = {"constant": "#cc79a7", "random_normal": "#e69f00", "glorot_uniform": "#009e73", "glorot_normal": "#0072b2"}
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito)."""

LEGEND_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "frameon": False}


def accuracy_table(trainings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean final test accuracy in [0, 1] and number of trainings, by initialization (rows) and activation."""
    groups = trainings.groupby(["initialization", "activation"], observed=True)["final_test_accuracy"]
    labels = {"index": CLASSES["initialization"], "columns": CLASSES["activation"]}
    return groups.mean().unstack().reindex(**labels), groups.size().unstack().reindex(**labels).fillna(0).astype(int)


def format_accuracy_table(trainings: pd.DataFrame) -> list[str]:
    """Return :func:`accuracy_table` as lines: percent, and how many trainings; a dash where there is none."""
    means, counts = accuracy_table(trainings)
    rows = [["", *means.columns]]
    for name in means.index:
        cells = zip(means.loc[name], counts.loc[name], strict=True)
        rows.append([name, *(f"{100 * mean:.0f} ({n})" if n else "-" for mean, n in cells)])
    return align(rows)


def draw_training_statistics(trainings: pd.DataFrame, path: Path) -> None:
    """Write a picture, PNG or SVG by its suffix: learning curves, final accuracies, and means by combination.

    Args:
        trainings: rows of the ``trainings`` table.
        path: file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    curves, histogram, combinations = figure.subplots(1, 3, width_ratios=[1.2, 1, 1.1])
    draw_curves(curves, trainings)
    _draw_histogram(histogram, trainings)
    draw_combinations(combinations, trainings)
    figure.suptitle(f"{len(trainings):,} trainings on {', '.join(sorted(trainings['dataset'].unique()))}", x=0.01, ha="left")
    figure.savefig(path, dpi=130)


def draw_curves(axes: Axes, trainings: pd.DataFrame) -> None:
    """Draw test accuracy over the progress of each training, and the mean of each initialization."""
    progress = np.linspace(0, 100, 101)
    alpha = float(np.clip(20 / len(trainings), 0.05, 0.4))
    for name, colour in _COLOURS.items():
        group = trainings.loc[trainings["initialization"] == name, "test_accuracy"]
        if group.empty:
            continue
        resampled = np.stack([np.interp(progress, np.linspace(0, 100, len(curve)), curve) for curve in group])
        axes.plot(progress, 100 * resampled.T, color=colour, alpha=alpha, linewidth=0.8)
        axes.plot(progress, 100 * resampled.mean(0), color=colour, linewidth=2.6, label=f"{name} ({len(group):,})")
    axes.set(
        xlabel="progress of the training (%)",
        ylabel="test accuracy (%)",
        xlim=(0, 100),
        ylim=(0, 100),
        title="Learning curves",
    )
    axes.legend(title="initialization (trainings); thick: mean", fontsize=8, title_fontsize=8, **LEGEND_BELOW | {"ncols": 2})


def _draw_histogram(axes: Axes, trainings: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    groups = {name: 100 * trainings.loc[trainings["initialization"] == name, "final_test_accuracy"] for name in _COLOURS}
    axes.hist(list(groups.values()), bins=list(np.linspace(0, 100, 21)), stacked=True, color=list(_COLOURS.values()))
    axes.set(xlabel="final test accuracy (%)", ylabel="trainings", xlim=(0, 100), title="Final accuracies")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def draw_combinations(axes: Axes, trainings: pd.DataFrame) -> None:
    """Draw :func:`accuracy_table` as coloured cells with their counts; grey where there is no training."""
    means, counts = accuracy_table(trainings)
    axes.set_facecolor("#dddddd")
    axes.imshow(100 * means.to_numpy(float), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(means.columns)), list(means.columns))
    axes.set_yticks(range(len(means.index)), list(means.index))
    for (row, column), mean in np.ndenumerate(means.to_numpy(float)):
        n = counts.iloc[row, column]
        text = f"{100 * mean:.0f} %\n({n:,})" if n else "none"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if mean < 0.55 else "black")
    axes.set_title("Mean final test accuracy (trainings)")


def main() -> int:
    """Draw the statistics of a dataset."""
    parser = argparse.ArgumentParser(description="how the trainings of a dataset went, as a picture")
    parser.add_argument("folder", type=Path, help="a dataset's folder")
    parser.add_argument("--population", default="fixed", help="fixed (default) or random")
    parser.add_argument("--out", type=Path, default=Path("training-statistics.png"), help="the picture, PNG or SVG")
    options = parser.parse_args()
    trainings = nws_data.open(options.folder, options.population).trainings()
    draw_training_statistics(trainings, options.out)
    print(*format_accuracy_table(trainings), f"Picture: {options.out}", sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
