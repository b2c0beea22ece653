"""Pictures, words and the interactive page of :mod:`benchmarks.findings.map`, from its tables alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs

from benchmarks.findings.tables import Tables, span, where
from benchmarks.templates import render
from nws_data.plot import style
from nws_data.space.trajectory import N_SNAPSHOTS

_LABELS = {"all": "all weights", "conv": "convolutional weights", "fc": "fully connected weights"}


def draw(tables: Tables) -> dict[str, Figure]:
    """Return the maps, and accuracy over progress at the first, middle and last positions."""
    return {"maps": _draw_maps(tables), "regions": _draw_regions(tables)}


def _maps(tables: Tables) -> Iterator[tuple[str, Tables, float, float]]:
    """Yield each target with its cells by part, and the range of colours that its maps share."""
    for target, own in tables["cells"].groupby("target", sort=False):
        parts = {str(part): cells for part, cells in own.groupby("part", sort=False)}
        low, high = float(own["accuracy"].min()), float(own["accuracy"].max())
        yield str(target), parts, low, max(high, low + 0.01)


def _matrix(cells: pd.DataFrame, column: str = "accuracy") -> np.ndarray:
    """Return a column as ``(snapshots, positions)``."""
    return cells.pivot(index="snapshot", columns="position", values=column).to_numpy()


def _draw_maps(tables: Tables) -> Figure:
    tasks = tables["tasks"].set_index(["target", "part"])
    targets = list(_maps(tables))
    figure, axes = style.grid(len(targets), len(_LABELS), 3.7, 2.4, sharex=True, sharey=True)
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr, call-arg]
    for line, (target, parts, low, high) in zip(axes, targets, strict=True):
        for panel, (part, cells) in zip(line, parts.items(), strict=True):
            # Cells reach half a step beyond 0 and 100 %.
            extent = (-0.5, 100.5, 100 + 50 / (N_SNAPSHOTS - 1), -50 / (N_SNAPSHOTS - 1))
            colours: dict[str, Any] = {"cmap": style.MAP, "vmin": 100 * low, "vmax": 100 * high}
            image = panel.imshow(100 * _matrix(cells), aspect="auto", extent=extent, **colours)
            panel.set_title(_title(tasks, target, part))
            panel.spines[:].set_visible(False)
        chance = 100 * tasks.loc[(target, "all"), "chance"]
        line[0].set_ylabel("training progress (%)")
        figure.colorbar(image, ax=line[-1], label=f"accuracy (%), chance {chance:.0f}")
    for panel in axes[-1]:
        panel.set_xlabel("window position (%)")
    return figure


def _draw_regions(tables: Tables) -> Figure:
    regions, tasks = tables["regions"], tables["tasks"].set_index(["target", "part"])
    targets = list(dict.fromkeys(regions["target"]))
    figure, axes = style.grid(len(targets), len(_LABELS), 3.7, 2.2, sharex=True, sharey="row")
    names = {"first": "first tenth of positions", "middle": "middle fifth", "last": "last tenth"}
    progress = np.linspace(0, 100, N_SNAPSHOTS)
    for line, target in zip(axes, targets, strict=True):
        for panel, part in zip(line, _LABELS, strict=True):
            own = where(regions, target=target, part=part)
            for colour, marker, (region, label) in zip(style.COLOURS, "o^s", names.items(), strict=False):
                rows = where(own, region=region)
                line_of: dict[str, Any] = {"label": label, "marker": marker, "markersize": 3, "linewidth": 1.2}
                panel.plot(progress, 100 * rows["accuracy"], color=colour, **line_of)
                ends = (100 * rows["accuracy_low"], 100 * rows["accuracy_high"])
                panel.fill_between(progress, *ends, color=colour, alpha=0.12, linewidth=0)
            chance = 100 * tasks.loc[(target, part), "chance"]
            panel.axhline(chance, color=style.INK, linestyle=":", linewidth=1, label="chance")
            panel.set_title(_title(tasks, target, part))
            panel.grid(True, axis="y")
        line[0].set_ylabel("accuracy (%)")
    for panel in axes[-1]:
        panel.set_xlabel("training progress (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _title(tasks: pd.DataFrame, target: str, part: str) -> str:
    above = tasks.loc[(target, part), "threshold"]
    return f"{target}, {_LABELS[part]}" + ("" if pd.isna(above) else f"\nabove {above:.0%} accuracy")


def tell(tables: Tables) -> str:
    """Return how it was tested, how far initialization falls at the ends, and where the image set is told better."""
    tasks, falls, parts = tables["tasks"], tables["falls"], tables["parts"]
    first = tasks.iloc[0]
    folds = tasks["folds"].max()
    text = f"{first['method']} on windows of {span(tasks['test_trainings'])} test trainings"
    text += f" (in {folds} folds where the official test side is too small)" if folds else ""
    lower = tasks[tasks["threshold"].notna()]
    if len(lower):
        text += f", on {', '.join(dict.fromkeys(lower['target']))} of those above {lower['threshold'].iloc[0]:.0%} accuracy"
    if "initialization" in set(falls["target"]):
        rows = where(falls, target="initialization", part="all", until="mean").set_index("region")
        text += (
            f": against its value at the start, accuracy on initialization is lower over the training by "
            f"{_points(rows.loc['middle'], 'fall')} points at the middle positions; at the first positions it falls "
            f"{_more(rows.loc['first'])}, at the last {_more(rows.loc['last'])}"
        )
    text += ". Converged, convolutional weights tell "
    return text + "; ".join(f"{row.target} {_compared(row)}" for row in parts.itertuples()) + "."


def _points(row: pd.Series, name: str, sign: int = 1) -> str:
    """Return a number and its interval in percentage points."""
    ends = sorted(100 * sign * row[f"{name}{end}"] for end in ("_low", "_high"))
    return f"{100 * sign * row[name]:.1f} [{ends[0]:.1f}, {ends[1]:.1f}]"


def _more(row: pd.Series) -> str:
    """Return by how much more or less than in the middle, or that it cannot be told."""
    if row["beyond_middle_low"] > 0:
        return f"{_points(row, 'beyond_middle')} more"
    if row["beyond_middle_high"] < 0:
        return f"{_points(row, 'beyond_middle', -1)} less"
    return f"as far as can be told the same ({_points(row, 'beyond_middle')} more)"


def _compared(row: Any) -> str:
    """Return accuracies of both parts, and whether they differ."""
    sure = row.difference_low > 0 or row.difference_high < 0
    verdict = ("better" if row.difference > 0 else "worse") if sure else "about as well"
    return f"{verdict} {'than' if sure else 'as'} fully connected ones ({100 * row.conv:.0f} and {100 * row.fc:.0f} %)"


def explore(tables: Tables) -> str:
    """Return a page on which pointing at a cell of a map gives its accuracy, count and interval."""
    rows = []
    for target, parts, low, high in _maps(tables):
        maps = [_interactive(f"{target}-{part}", cells, low, high) for part, cells in parts.items()]
        rows.append((target, list(zip((_LABELS[part] for part in parts), maps, strict=True))))
    values = {"rows": rows, "plotly": get_plotlyjs(), "shows": tell(tables)}
    return render(Path(__file__).with_name("map.html.j2"), values)


def _interactive(name: str, cells: pd.DataFrame, low: float, high: float) -> str:
    """Return one map as a plotly element; the script must be on the page."""
    known = np.stack([_matrix(cells, column) for column in ("right", "trainings", "low", "high")], axis=-1)
    known[..., 2:] *= 100
    heat = go.Heatmap(
        z=(100 * _matrix(cells)).round(2),
        x=np.linspace(0, 100, known.shape[1]).round(1),
        y=np.linspace(0, 100, N_SNAPSHOTS).round(1),
        customdata=known.round(2),
        zmin=100 * low,
        zmax=100 * high,
        colorscale=style.MAP,
        colorbar={"title": {"text": "%"}, "thickness": 12},
        hovertemplate="position %{x} %, progress %{y} %<br>accuracy %{z:.1f} %, %{customdata[0]} of %{customdata[1]} "
        "trainings<br>95 % interval %{customdata[2]:.1f} to %{customdata[3]:.1f} %<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_layout(
        height=300,
        margin={"l": 50, "r": 5, "t": 8, "b": 45},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis_title="window position (%)",
        yaxis={"title": "training progress (%)", "autorange": "reversed"},
    )
    options = {"displayModeBar": False, "responsive": True}
    made: str = figure.to_html(full_html=False, include_plotlyjs=False, config=options, div_id=name)
    return made
