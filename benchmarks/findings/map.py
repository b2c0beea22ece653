"""Accuracy of a local method over the place of its window and the progress of the training.

A method is fitted once on each task local/T, local-conv/T and local-fc/T, so on windows of the last two snapshots. It
predicts windows at 100 places of all 20 snapshots of the test trainings. Where the official task has too few trainings, its
five folds stand in for it, which test each training once; where those have too few, the same of all trainings above
``LOWER`` accuracy.
Source: Eilertsen et al. 2020, Section 5.3 and Supplement F.4, Figures 5, 20, 21.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs

import nws_data
from baselines.method import Method
from baselines.registry import find_method
from benchmarks.findings.fits import predicted, test_sets
from benchmarks.findings.source import LOWER, MissingDataError, Source
from benchmarks.findings.tables import Tables, columns_of, span, where
from benchmarks.templates import render
from nws_data.errors import TaskNotAvailableError
from nws_data.plot import style
from nws_data.progress import progress_bar
from nws_data.space.architecture import Part
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.tasks.metrics import clustered_accuracy, paired_difference
from nws_data.tasks.task import Task

PARTS: dict[Part, str] = {"all": "local", "conv": "local-conv", "fc": "local-fc"}
"""Families of tasks by part of the vector."""

TARGETS = ("dataset", "optimizer", "activation", "initialization")
N_POSITIONS = 100
GRID = 256
"""Starts lie on a grid of so many values, the product of the local DMC's pools: its windows then share their layers."""

REGIONS = {"first": slice(0, 10), "middle": slice(40, 60), "last": slice(90, 100), "all": slice(0, 100)}
"""Positions: the first and the last tenth, the fifth in the middle, and all."""

_TOGETHER = 4  # trainings that are predicted at once


def measure(source: Source) -> Tables:
    """Return accuracy by cell and by region, how far it falls, convolutional against other weights, and the tasks.

    Raises ``MissingDataError`` for too few trainings, or a method that reads no windows.
    """
    tasks, parts = [], []
    tables: dict[str, list[pd.DataFrame]] = {"cells": [], "regions": [], "falls": []}
    for target in _targets(source):
        found = {}
        for part in PARTS:
            ids, right, facts = _right(source, target, part)
            found[part] = (ids, right)
            keys = {"target": target, "part": part}
            tasks.append(keys | facts)
            for own, make in zip(tables.values(), (cell_table, region_table, fall_table), strict=True):
                own.append(make(right).assign(**keys))
        parts.append({"target": target} | compare(*found["conv"], *found["fc"]))
    joined = {key: pd.concat(own, ignore_index=True).round(5) for key, own in tables.items()}
    return joined | {"parts": pd.DataFrame(parts).round(5), "tasks": pd.DataFrame(tasks)}


def _targets(source: Source) -> list[str]:
    """Return the targets that are asked for; by default those of :data:`TARGETS` that have enough trainings."""
    if "windows" not in find_method(source.method).inputs:
        raise MissingDataError(f"needs a method that reads windows, {source.method} does not; nws bench methods lists them")
    source.check_snapshots()
    found, reasons = [], []
    for target in source.targets or TARGETS:
        try:
            tested(source, target, "all")
            found.append(target)
        except TaskNotAvailableError as error:
            reasons.append(f"{target} ({error.short})")
    if not found or (source.targets and reasons):
        raise MissingDataError(
            f"too few trainings for {', '.join(reasons)}, in five folds too; build more of them (nws build --population "
            "random --trainings N), or longer ones (--epoch-cap)"
        )
    return found


def tested(source: Source, target: str, part: Part) -> list[Task]:
    """Return the official task, else its five folds, else the same above ``LOWER``; raises ``TaskNotAvailableError``."""
    official = f"{PARTS[part]}/{target}"
    try:
        return test_sets(official, source.root)
    except TaskNotAvailableError:
        with suppress(TaskNotAvailableError):
            return test_sets(f"{official}/threshold={LOWER}", source.root)
        raise


def _right(source: Source, target: str, part: Part) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return ids ``(trainings,)``, which windows were told right, bool ``(trainings, snapshots, positions)``, and facts."""
    tasks = tested(source, target, part)
    bar = progress_bar(iterable=tasks, desc=f"{PARTS[part]}/{target}")
    found = [predicted(source, "map", task, _predict) for task in bar]
    ids = np.concatenate([each["ids"] for each in found])
    order = np.argsort(ids)
    spill = [nws_data.FixedWindows(task.test.data, part=part).spill_share for task in tasks]
    facts = {
        "task": f"{PARTS[part]}/{target}",
        "folds": 0 if tasks[0].spec.fold is None else len(tasks),
        "threshold": tasks[0].spec.threshold,
        "method": source.method,
        "classes": tasks[0].n_classes,
        "train_trainings": round(np.mean([sum(task.counts["train"].values()) for task in tasks])),
        "test_trainings": len(ids),
        "chance": 1 / tasks[0].n_classes,
        "spill_share": round(float(np.mean(spill)), 4),
    }
    return ids[order], np.concatenate([each["right"] for each in found])[order], facts


def _predict(method: Method, task: Task) -> dict[str, np.ndarray]:
    """Return ids and right windows of one task's test trainings."""
    data = nws_data.open(task.test.data.root, "random")
    ids = np.unique(task.test.data["training"])
    rows = np.flatnonzero(np.isin(data["training"], ids))
    rows = rows[np.lexsort((data["snapshot"][rows], data["training"][rows]))]
    names = [str(name) for name in task.classes or ()]
    right = np.empty((len(ids), N_SNAPSHOTS, N_POSITIONS), bool)
    places: dict[str, Any] = {"windows_per_vector": N_POSITIONS, "grid": GRID, "target": task.target}
    pieces = np.array_split(np.arange(len(ids)), -(-len(ids) // _TOGETHER))
    for piece in progress_bar(iterable=pieces, desc="windows"):
        own = data.take(rows.reshape(len(ids), N_SNAPSHOTS)[piece].flatten())
        view = nws_data.FixedWindows(own, task.spec.length or 0, task.spec.family.part or "all", **places)
        values = np.asarray(method.predict(view))
        labels = values.argmax(1) if values.ndim == 2 else values.astype(np.int64)
        truth = np.array([names.index(str(value)) for value in view.data[task.target]])
        right[piece] = (labels == np.repeat(truth, N_POSITIONS)).reshape(len(piece), N_SNAPSHOTS, N_POSITIONS)
    return {"ids": ids, "right": right}


def cell_table(right: np.ndarray) -> pd.DataFrame:
    """Return accuracy of each cell with its interval, over trainings; positions from 0 to 99, snapshots from 0 to 19."""
    n = len(right)
    counts = right.sum(0)
    of_count = [clustered_accuracy(np.ones(n), np.arange(n) < k) for k in range(n + 1)]
    snapshots, positions = np.indices(counts.shape).reshape(2, -1)
    rows = pd.DataFrame([of_count[k] for k in counts.flatten()], columns=["accuracy", "low", "high"])
    keys = {"snapshot": snapshots, "position": positions, "trainings": n, "right": counts.flatten()}
    return pd.concat([pd.DataFrame(keys), rows], axis=1)


def region_table(right: np.ndarray) -> pd.DataFrame:
    """Return accuracy of each region and snapshot with its interval clustered by training."""
    rows = []
    for region, places in REGIONS.items():
        for snapshot in range(N_SNAPSHOTS):
            own = right[:, snapshot, places]
            found = clustered_accuracy(np.full(len(own), own.shape[1]), own.sum(1))
            rows.append({"region": region, "snapshot": snapshot, **columns_of("accuracy", found)})
    return pd.DataFrame(rows)


def fall_table(right: np.ndarray) -> pd.DataFrame:
    """Return by how much accuracy is less than at the initialisation, and what of it lies beyond the fall in the middle.

    ``until`` is ``end``, the last snapshot, or ``mean``, the mean of all snapshots after the first, which also tells how
    early it falls. Both are differences between windows of the same trainings, with intervals clustered by training.
    """
    n, rows = np.ones(len(right)), []
    shares = {region: right[:, :, places].mean(2) for region, places in REGIONS.items()}
    for region, share in shares.items():
        for until, later in (("end", slice(-1, None)), ("mean", slice(1, None))):
            falls = {key: s[:, 0] - s[:, later].mean(1) for key, s in ((region, share), ("middle", shares["middle"]))}
            fall = paired_difference(n, falls[region], np.zeros(len(n)))
            beyond = paired_difference(n, falls[region], falls["middle"])
            found = columns_of("fall", fall) | columns_of("beyond_middle", beyond)
            rows.append({"region": region, "until": until, **found})
    return pd.DataFrame(rows)


def compare(ids: np.ndarray, right: np.ndarray, other_ids: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return accuracy at the last snapshot, over all positions, of convolutional and other weights, and their difference.

    Over the trainings that both were tested on.
    """
    both, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    n = np.full(len(both), N_POSITIONS)
    conv, fc = right[here, -1].sum(1), other[there, -1].sum(1)
    found = columns_of("conv", clustered_accuracy(n, conv)) | columns_of("fc", clustered_accuracy(n, fc))
    return {"trainings": len(both)} | found | columns_of("difference", paired_difference(n, conv, fc))


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
