"""Pictures, words and the interactive page of :mod:`benchmarks.findings.map`, from its tables alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.findings import style
from nws_data.errors import NWSError
from nws_data.space.trajectory import N_SNAPSHOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {"all": "all weights", "conv": "convolutional weights", "fc": "fully connected weights"}


def draw(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """Return the maps, and accuracy over progress at the first, middle and last positions."""
    return {"maps": _draw_maps(tables), "regions": _draw_regions(tables)}


def _maps(tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, dict[str, pd.DataFrame], float, float]]:
    """Yield each target with its cells by part, and the range of colours that its maps share."""
    for target, own in tables["cells"].groupby("target", sort=False):
        parts = {str(part): cells for part, cells in own.groupby("part", sort=False)}
        low, high = float(own["accuracy"].min()), float(own["accuracy"].max())
        yield str(target), parts, low, max(high, low + 0.01)


def _matrix(cells: pd.DataFrame, column: str = "accuracy") -> np.ndarray:
    """Return a column as ``(snapshots, positions)``."""
    return cells.pivot(index="snapshot", columns="position", values=column).to_numpy()


def _draw_maps(tables: dict[str, pd.DataFrame]) -> Figure:
    tasks = tables["tasks"].set_index(["target", "part"])
    targets = list(_maps(tables))
    figure, axes = style.grid(len(targets), len(_LABELS), 3.7, 2.4, sharex=True, sharey=True)
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr, call-arg]
    for line, (target, parts, low, high) in zip(axes, targets, strict=True):
        for panel, (part, cells) in zip(line, parts.items(), strict=True):
            # Cells reach half a step beyond 0 and 100 %.
            extent = (-0.5, 100.5, 100 + 50 / (N_SNAPSHOTS - 1), -50 / (N_SNAPSHOTS - 1))
            image = panel.imshow(
                100 * _matrix(cells), cmap=style.MAP, vmin=100 * low, vmax=100 * high, aspect="auto", extent=extent
            )
            panel.set_title(_title(tasks, target, part))
            panel.spines[:].set_visible(False)
        chance = 100 * tasks.loc[(target, "all"), "chance"]
        line[0].set_ylabel("training progress (%)")
        figure.colorbar(image, ax=line[-1], label=f"accuracy (%), chance {chance:.0f}")
    for panel in axes[-1]:
        panel.set_xlabel("window position (%)")
    return figure


def _draw_regions(tables: dict[str, pd.DataFrame]) -> Figure:
    regions, tasks = tables["regions"], tables["tasks"].set_index(["target", "part"])
    targets = list(dict.fromkeys(regions["target"]))
    figure, axes = style.grid(len(targets), len(_LABELS), 3.7, 2.2, sharex=True, sharey="row")
    names = {"first": "first tenth of positions", "middle": "middle fifth", "last": "last tenth"}
    progress = np.linspace(0, 100, N_SNAPSHOTS)
    for line, target in zip(axes, targets, strict=True):
        for panel, part in zip(line, _LABELS, strict=True):
            own = regions[(regions["target"] == target) & (regions["part"] == part)]
            for colour, marker, (region, label) in zip(style.COLOURS, "o^s", names.items(), strict=False):
                rows = own[own["region"] == region]
                panel.plot(
                    progress, 100 * rows["accuracy"], color=colour, label=label, marker=marker, markersize=3, linewidth=1.2
                )
                panel.fill_between(
                    progress, 100 * rows["accuracy_low"], 100 * rows["accuracy_high"], color=colour, alpha=0.12, linewidth=0
                )
            panel.axhline(
                100 * tasks.loc[(target, part), "chance"], color=style.INK, linestyle=":", linewidth=1, label="chance"
            )
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


def tell(tables: dict[str, pd.DataFrame]) -> str:
    """Return how it was tested, how far initialization falls at the ends, and where the image set is told better."""
    tasks, falls, parts = tables["tasks"], tables["falls"], tables["parts"]
    first = tasks.iloc[0]
    n = _range(tasks["test_trainings"])
    folds = _range(tasks.loc[tasks["folds"] > 0, "folds"])
    text = f"{first['method']} on windows of {n} test trainings"
    text += f" (in {folds} folds where the official test side is too small)" if folds else ""
    lower = tasks[tasks["threshold"].notna()]
    if len(lower):
        text += f", on {', '.join(dict.fromkeys(lower['target']))} of those above {lower['threshold'].iloc[0]:.0%} accuracy"
    if "initialization" in set(falls["target"]):
        own = falls[(falls["target"] == "initialization") & (falls["part"] == "all") & (falls["until"] == "mean")]
        rows = own.set_index("region")
        text += (
            f": against its value at the start, accuracy on initialization is lower over the training by "
            f"{_points(rows.loc['middle'], 'fall')} points at the middle positions; at the first positions it falls "
            f"{_more(rows.loc['first'])}, at the last {_more(rows.loc['last'])}"
        )
    text += ". Converged, convolutional weights tell "
    return text + "; ".join(f"{row.target} {_compared(row)}" for row in parts.itertuples()) + "."


def _range(values: pd.Series) -> str:
    if not len(values):
        return ""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


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


def explore(tables: dict[str, pd.DataFrame]) -> str:
    """Return a page on which pointing at a cell of a map gives its accuracy, count and interval."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise NWSError("the page of the maps needs plotly; install it with pip install plotly") from error
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rows = []
    for target, parts, low, high in _maps(tables):
        maps = [_interactive(f"{target}-{part}", cells, low, high) for part, cells in parts.items()]
        rows.append((target, list(zip((_LABELS[part] for part in parts), maps, strict=True))))
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("map.html.j2").render(rows=rows, plotly=get_plotlyjs(), shows=tell(tables))


def _interactive(name: str, cells: pd.DataFrame, low: float, high: float) -> str:
    """Return one map as a plotly element; the script must be on the page."""
    import plotly.graph_objects as go

    columns: Sequence[str] = ("right", "trainings", "low", "high")
    known = np.stack([_matrix(cells, column) for column in columns], axis=-1)
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
