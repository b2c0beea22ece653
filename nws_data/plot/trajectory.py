"""How one training went: accuracies, how far each layer left its initialisation, and where its weights lie over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nws_data.plot import style
from nws_data.plot.training import StoredTraining, caption, distances, percentiles
from nws_data.space.trajectory import CURVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_trajectory(training: StoredTraining) -> Figure:
    """Return the picture; call it, and save, within :func:`nws_data.plot.style.theme`."""
    figure, top, bottom, panels = style.panels_below(len(training.layers), caption(training), 3.4, "weight", sharex=True)
    accuracies, moved = top.subplots(1, 2)
    _draw_accuracies(accuracies, training)
    _draw_distances(moved, training)
    for panel, layer in zip(panels, training.layers, strict=True):
        _draw_distribution(panel, training.epochs, percentiles(training.kernels(layer)))
        panel.set_title(f"{layer.name} kernel")
    for panel in (accuracies, moved, *panels):
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels[-style.COLUMNS :]:  # the lowest of each column
        panel.set_xlabel("epoch")
        panel.tick_params(labelbottom=True)
    bottom.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_accuracies(panel: Axes, training: StoredTraining) -> None:
    last = training.row["n_epochs"]
    for name, colour in zip(CURVES, (style.COLOURS[5], style.COLOURS[1], style.COLOURS[0]), strict=True):
        curve = np.asarray(training.row[name])
        label = name.removesuffix("_accuracy")
        panel.plot(np.linspace(0, last, len(curve)), 100 * curve, color=colour, linewidth=1.8, label=label)
    panel.plot(training.epochs, np.full(len(training.epochs), 1.5), "|", color=style.INK, markersize=7, label="snapshot")
    panel.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100), title="Accuracy")
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _draw_distances(panel: Axes, training: StoredTraining) -> None:
    import matplotlib

    shades = matplotlib.colormaps[style.MAP](np.linspace(0, 0.9, len(training.layers)))
    for layer, shade in zip(training.layers, shades, strict=True):
        kind: dict[str, Any] = {"linestyle": "-" if layer.is_conv else "--", "marker": "o" if layer.is_conv else "s"}
        moved = distances(training.kernels(layer))
        panel.plot(training.epochs, moved, color=shade, markersize=3, linewidth=1.4, label=layer.name, **kind)
    first = "their initialisation" if training.snapshots[0] == 0 else f"those of {training.name(0)}"
    panel.set(xlabel="epoch", ylabel="|w - w₀| / |w₀|", title=f"Distance of the kernels from {first}")
    panel.set_ylim(bottom=0)
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _draw_distribution(panel: Axes, epochs: np.ndarray, values: np.ndarray) -> None:
    low, first, middle, third, high = values.T
    panel.fill_between(epochs, low, high, color=style.COLOURS[4], alpha=0.35, linewidth=0, label="1 to 99 % of the weights")
    panel.fill_between(epochs, first, third, color=style.COLOURS[0], alpha=0.5, linewidth=0, label="25 to 75 %")
    panel.plot(epochs, middle, color=style.INK, linewidth=1.2, label="median")
