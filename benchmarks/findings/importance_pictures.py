"""Pictures and words of :mod:`benchmarks.findings.importance`, from its tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.findings.panels import panels_of
from benchmarks.findings.tables import Tables, where
from nws_data.features.statistics import STATISTICS
from nws_data.plot import style
from nws_data.tasks.table import WINDOW_LENGTH

CLEAR = 3
"""Standard deviations, of both together, by which a relative norm exceeds that under permuted labels to count as telling."""

_KINDS = ("kernel", "bias", "beta", "gamma", "mean", "variance")
_PERMUTED = "mean under permuted labels, scaled to equal norm"


def clear(table: pd.DataFrame) -> pd.Series:
    """Return which rows of norms are above average and exceed those of permuted labels by :data:`CLEAR` deviations."""
    spread = np.hypot(table["relative_sd"], table["permuted_sd"])
    return (table["relative"] > 1) & (table["relative"] - table["permuted"] > CLEAR * spread) & (spread > 0)


def draw(tables: Tables) -> dict[str, Figure]:
    """Return the features of windows, or all layer-wise features and means over kinds of weights."""
    features, groups, fits = tables["features"], tables["groups"], tables["fits"]
    if fits["scope"].iloc[0] == "windows":
        return {"windows": _draw_windows(features, fits)}
    return {"layers": _draw_layers(features, groups, fits), "kinds": _draw_kinds(where(groups, level="kind"))}


def _colour(kind: str) -> str:
    return style.COLOURS[_KINDS.index(kind) % len(style.COLOURS)]


def _draw_layers(table: pd.DataFrame, groups: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    targets = list(dict.fromkeys(table["target"]))
    figure, axes = style.grid(len(targets), 1, 11, 2.5, sharex=True)
    for (panel,), target in zip(axes, targets, strict=True):
        own = where(table, target=target).reset_index(drop=True)
        panel.set_title(f"{target}: {_fit_words(fits, target)}", loc="left")
        panel.set_ylabel("coefficient norm")
        tensors = _draw_norms(panel, own, where(groups, target=target, level="tensor"))
    axes[-1][0].set_xticks([x for _, x in tensors], [name.partition(".")[2] for name, _ in tensors], rotation=90)
    handles = [
        *(Patch(color=_colour(kind), label=kind) for kind in _KINDS),
        Line2D([], [], color=style.INK, linewidth=2, label="mean of the 16"),
        Line2D([], [], color=style.INK, linewidth=1.2, linestyle=":", label=_PERMUTED),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, columnspacing=1.2)
    axes[-1][0].set_xlabel(
        "16 statistics of each tensor: mean, variance, skewness, percentiles 1, 25, 50, 75, 99; the same of the gradient"
    )
    return figure


def _draw_norms(panel: Axes, own: pd.DataFrame, groups: pd.DataFrame) -> list[tuple[str, float]]:
    """Draw one target's features; returns each tensor with its middle."""
    x, kinds = np.arange(len(own)), own["tensor"].str.partition(".")[2]
    for kind in _KINDS:
        _sticks(panel, x[kinds == kind], 0 * own["norm"][kinds == kind], own["norm"][kinds == kind], _colour(kind), 1.1)
    _sticks(panel, x, own["norm"] - own["norm_sd"], own["norm"] + own["norm_sd"], style.INK, 0.4)
    top = float((own["norm"] + own["norm_sd"]).max()) * 1.32
    mean, middles, layer = own["norm"].mean(), [], ""
    of_tensor = groups.set_index("group")
    for tensor, members in own.groupby("tensor", sort=False).groups.items():
        left, right = members[0] - 0.5, members[-1] + 0.5
        panel.hlines(of_tensor.loc[tensor, "norm"], left, right, colors=style.INK, linewidth=2)
        panel.hlines(of_tensor.loc[tensor, "permuted"] * mean, left, right, colors=style.INK, linewidth=1.2, linestyles=":")
        middles.append((str(tensor), (left + right) / 2))
        if layer != (layer := str(tensor).partition(".")[0]):
            panel.axvline(left, color=style.GRID, linewidth=0.8, zorder=0)
            panel.text(left + 3, top * 0.985, layer, va="top", fontsize=8)
    _name_best(panel, own, top)
    panel.set(xlim=(-0.5, len(own) - 0.5), ylim=(0, top))
    return middles


def _sticks(panel: Axes, x: np.ndarray, low: pd.Series, high: pd.Series, colour: str, width: float) -> None:
    """Draw many vertical lines as one element."""
    y = np.stack([low, high, np.full(len(x), np.nan)], axis=1).ravel()
    panel.plot(np.repeat(x, 3), y, color=colour, linewidth=width, solid_capstyle="butt")


def _name_best(panel: Axes, own: pd.DataFrame, top: float) -> None:
    """Write the name of the most telling feature beside it, if there is one."""
    telling = own[clear(own)]
    if telling.empty:
        return
    best = telling.loc[telling["relative"].idxmax()]
    late = best.name > 0.8 * len(own)
    panel.annotate(
        f"{best['tensor']} {best['statistic'].replace('_', ' ')}",
        (best.name, best["norm"] + best["norm_sd"]),
        xytext=(best.name + (-4 if late else 4), 0.82 * top),
        ha="right" if late else "left",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": style.INK, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
    )


def _fit_words(fits: pd.DataFrame, target: str) -> str:
    row = where(fits, target=target).iloc[0]
    return (
        f"{row['accuracy']:.0%} right [{100 * row['accuracy_low']:.0f}, {100 * row['accuracy_high']:.0f}], chance "
        f"{row['chance']:.0%}; fits on {int(row['trainings_half'])} trainings"
    )


def _draw_bars(panel: Axes, own: pd.DataFrame, colours: Sequence[str], labels: Sequence[str]) -> None:
    x = np.arange(len(own))
    panel.bar(x, own["relative"], color=colours, yerr=own["relative_sd"], ecolor=style.INK)
    style_of: dict[str, Any] = {"color": style.INK, "markersize": 9, "alpha": 0.7, "linestyle": "none", "elinewidth": 0.8}
    panel.errorbar(x, own["permuted"], own["permuted_sd"], fmt="_", **style_of)
    panel.set_xticks(x, labels, rotation=60, ha="right", rotation_mode="anchor")


def _legend(figure: Figure, bars: dict[str, str]) -> None:
    line = Line2D([], [], color=style.INK, marker="_", markersize=9, linestyle="none", label="under permuted labels; sd")
    handles = [*(Patch(color=colour, label=name) for name, colour in bars.items()), line]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)


def _draw_kinds(table: pd.DataFrame) -> Figure:
    targets = list(dict.fromkeys(table["target"]))
    figure, (axes,) = style.grid(1, len(targets), max(2.75, 5.5 / len(targets)), 3.0, sharey=True)
    for panel, target in zip(axes, targets, strict=True):
        own = where(table, target=target)
        _draw_bars(panel, own, [_colour(group.partition(" ")[2]) for group in own["group"]], list(own["group"]))
        panel.set_title(target)
    axes[0].set(ylabel="norm / mean norm", ylim=(0, None))  # shared, so once all bars are there
    _legend(figure, {"mean over a kind of weights; sd over repeats": style.COLOURS[0]})
    return figure


def _draw_windows(table: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    targets = list(dict.fromkeys(table["target"]))
    figure, panels = panels_of(len(targets), 2.7, "norm / mean norm", sharex=True)
    labels = [name.replace("gradient_", "gradient ") for name in STATISTICS]
    colours = [style.COLOURS[0 if not name.startswith("gradient") else 1] for name in STATISTICS]
    for panel, target in zip(panels, targets, strict=True):
        own = where(table, target=target).set_index("statistic").loc[list(STATISTICS)]
        _draw_bars(panel, own, colours, labels)
        panel.set_title(f"{target}: {_fit_words(fits, target)}", fontsize=9)
        panel.tick_params(axis="x", labelbottom=True)
        panel.set_ylim(bottom=0)
    _legend(figure, {"of values; sd over repeats": colours[0], "of the gradient; sd over repeats": colours[-1]})
    return figure


def tell(tables: Tables) -> str:
    """Return the most telling kind and feature of each target, those not told, and those that lack trainings."""
    fits, texts = tables["fits"].fillna({"left_out": ""}), []
    is_windows = fits["scope"].iloc[0] == "windows"
    head = f"Windows of {WINDOW_LENGTH:,} values" if is_windows else "Layer-wise statistics"
    made = [_tell_target(tables, row) for row in fits[fits["accuracy"].notna()].to_dict("records")]
    absent = fits.loc[fits["accuracy"].isna(), "target"].tolist()
    if made:
        texts.append(f"{head}: {'; '.join(made)}.")
    if absent:
        texts.append(f"{head}: too few trainings for {', '.join(absent)}.")
    return " ".join(texts)


def _tell_target(tables: Tables, row: dict[str, float]) -> str:
    without = f", without {row['left_out']}" if row["left_out"] else ""
    found = f"{row['target']} ({row['accuracy']:.0%} right, chance {row['chance']:.0%}{without})"
    if row["accuracy_low"] <= row["chance"]:
        return f"{found} is not told"
    groups, features = (where(tables[name], target=row["target"]) for name in ("groups", "features"))
    groups, features = (table[clear(table)] for table in (where(groups, level="kind"), features))
    if groups.empty and features.empty:
        return f"{found} by no kind or feature above others"
    texts = []
    if len(groups):
        best = groups.loc[groups["relative"].idxmax()]
        texts.append(f"{best['group']} ({_times(best)})")
    if len(features):
        best = features.loc[features["relative"].idxmax()]
        name = f"{'' if pd.isna(best['tensor']) else best['tensor']} {best['statistic']}".strip().replace("_", " ")
        texts.append(f"{'most of all ' if texts else ''}{name} ({_times(best)})")
    return f"{found} by {', '.join(texts)}"


def _times(row: pd.Series) -> str:
    return f"{row['relative']:.1f} times the mean norm, {row['permuted']:.1f} under permuted labels"
