"""How the trainings of a dataset went: accuracy by hyper-parameters as a table, learning curves as a picture.

Source: Eilertsen et al. 2020, Supplement A.3, Figures 7 to 9.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nws_data.space.hyperparameters import CLASSES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLOURS = {"constant": "#8c6bb1", "random_normal": "#e08214", "glorot_uniform": "#1b7837", "glorot_normal": "#2166ac"}


def accuracy_table(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return the mean final test accuracy in [0, 1] by initialization (rows) and activation (columns)."""
    table = trainings.pivot_table("final_test_accuracy", "initialization", "activation", aggfunc="mean", observed=True)
    return table.reindex(index=CLASSES["initialization"], columns=CLASSES["activation"])


def format_accuracy_table(table: pd.DataFrame) -> str:
    """Return the table as text in percent; combinations without a training show a dash."""
    rows = [["", *table.columns]]
    rows += [
        [name, *("-" if np.isnan(v) else f"{100 * v:.1f}" for v in row)]
        for name, row in zip(table.index, table.values, strict=True)
    ]
    return "\n".join(f"  {row[0]:16}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows)


def draw_training_statistics(trainings: pd.DataFrame, path: Path) -> None:
    """Write a PNG: test accuracy over training progress, final accuracies, and means by combination.

    Args:
        trainings: rows of the ``trainings`` table.
        path: file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    curves, histogram, combinations = figure.subplots(1, 3, width_ratios=[1.2, 1, 1.1])
    _draw_curves(curves, trainings)
    _draw_histogram(histogram, trainings)
    _draw_combinations(combinations, accuracy_table(trainings))
    sets = ", ".join(sorted(trainings["dataset"].unique()))
    figure.suptitle(f"{len(trainings)} trainings on {sets}", fontsize=12)
    figure.savefig(path, dpi=130)


def _draw_curves(axes: Axes, trainings: pd.DataFrame) -> None:
    progress = np.linspace(0, 100, 101)
    for name, colour in _COLOURS.items():
        group = trainings.loc[trainings["initialization"] == name, "test_accuracy"]
        if group.empty:
            continue
        resampled = np.stack([np.interp(progress, np.linspace(0, 100, len(curve)), curve) for curve in group])
        axes.plot(progress, 100 * resampled.T, color=colour, alpha=0.12, linewidth=0.7)
        axes.plot(progress, 100 * resampled.mean(0), color=colour, linewidth=2.2, label=f"{name} ({len(group)})")
    axes.set(
        xlabel="training progress (%)", ylabel="test accuracy (%)", xlim=(0, 100), ylim=(0, 100), title="Learning curves"
    )
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)


def _draw_histogram(axes: Axes, trainings: pd.DataFrame) -> None:
    groups = {name: 100 * trainings.loc[trainings["initialization"] == name, "final_test_accuracy"] for name in _COLOURS}
    axes.hist(list(groups.values()), bins=list(np.linspace(0, 100, 21)), stacked=True, color=list(_COLOURS.values()))
    axes.set(xlabel="final test accuracy (%)", ylabel="trainings", xlim=(0, 100), title="Final accuracies")


def _draw_combinations(axes: Axes, table: pd.DataFrame) -> None:
    values = 100 * table.to_numpy(float)
    axes.imshow(values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(values.shape[1]), list(table.columns))
    axes.set_yticks(range(values.shape[0]), list(table.index))
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.0f}"
        axes.text(column, row, text, ha="center", va="center", color="white" if not value > 60 else "black")
    axes.set_title("Mean final test accuracy (%)")
