"""What one training's weights look like: the filters of the first layer as images, and each layer's distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nws_data.plot import style
from nws_data.plot.training import StoredTraining, caption

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 61


def draw_weights(training: StoredTraining) -> Figure:
    """Return the picture; call it, and save, within :func:`nws_data.plot.style.theme`."""
    n = len(training.vectors)
    snapshots = sorted({0, (n - 1) // 4, (n - 1) // 2, n - 1})
    figure, top, bottom, panels = style.panels_below(
        len(training.layers), caption(training), 1.35 * len(snapshots), "share of weights (%)"
    )
    for panel, snapshot in zip(top.subplots(len(snapshots), 1, squeeze=False).ravel(), snapshots, strict=True):
        _draw_filters(panel, training, snapshot)
    for panel, layer in zip(panels, training.layers, strict=True):
        kernels = training.kernels(layer)
        _draw_histograms(panel, training, kernels)
        panel.set_title(f"{layer.name} kernel ({kernels.shape[1]:,})")
        panel.set_xlabel("weight")
    bottom.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def filter_images(kernel: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the first layer's filters ``(filters, 3, side, side)`` as images, and the weight that is brightest.

    Red, green and blue are in [0, 1], ``(filters, side, side, 3)``, on one scale; 0 and what is not finite is middle grey.
    """
    finite = np.where(np.isfinite(kernel), kernel, 0).astype(np.float64)
    scale = float(np.abs(finite).max()) or 1.0
    return 0.5 + finite.transpose(0, 2, 3, 1) / (2 * scale), scale


def _draw_filters(panel: Axes, training: StoredTraining, snapshot: int) -> None:
    tensor = training.layers[0]["kernel"]
    images, scale = filter_images(training.vectors[snapshot, tensor.slice].reshape(tensor.shape))
    side = images.shape[1]
    strip = np.zeros((side, len(images) * (side + 1) - 1, 4))
    for i, image in enumerate(images):
        strip[:, i * (side + 1) : i * (side + 1) + side] = np.concatenate([image, np.ones((side, side, 1))], axis=2)
    panel.imshow(strip, interpolation="nearest")
    panel.set_axis_off()
    epoch = training.epochs[snapshot]
    when = "initialisation" if epoch == 0 else f"epoch {epoch:g}"
    panel.set_title(f"Filters of {training.layers[0].name}, {when}: red, green, blue; grey is 0, brightest {scale:.2g}")


def histograms(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges ``(BINS + 1,)`` of bins over both kernels' finite values, and the shares of each, ``(BINS,)``."""
    finite = [values[np.isfinite(values)].astype(np.float64) for values in (first, last)]
    edges = np.histogram_bin_edges(np.concatenate(finite), BINS)
    before, after = (np.histogram(values, edges)[0] / len(first) for values in finite)
    return edges, before, after


def _draw_histograms(panel: Axes, training: StoredTraining, kernels: np.ndarray) -> None:
    edges, before, after = histograms(kernels[0], kernels[-1])
    if len(kernels) > 1:
        panel.stairs(100 * before, edges, color=style.COLOURS[1], linewidth=1.4, label=training.name(0))
    panel.stairs(100 * after, edges, color=style.COLOURS[0], linewidth=1.4, label=training.name(-1))
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("")
