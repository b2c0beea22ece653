"""Accuracy of a local method over the place of its window and the progress of the training.

A method is fitted once on each task local/T, local-conv/T and local-fc/T, so on windows of the last two snapshots. It
predicts windows at 100 places of all 20 snapshots of the test trainings. Where the official task has too few trainings, its
five folds stand in for it: each training is tested once.
Source: Eilertsen et al. 2020, Section 5.3 and Supplement F.4, Figures 5, 20, 21.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import nws_data
from benchmarks.findings import style
from benchmarks.findings.source import MissingDataError, Source
from nws_data.atomic import atomic_file
from nws_data.errors import NWSError, TaskNotAvailableError
from nws_data.space.architecture import Part
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.tasks.metrics import Interval, clustered_accuracy, paired_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nws_data.tasks.task import Task

PARTS: dict[Part, str] = {"all": "local", "conv": "local-conv", "fc": "local-fc"}
"""Families of tasks by part of the vector."""

TARGETS = ("dataset", "optimizer", "activation", "initialization")
N_POSITIONS = 100
GRID = 256
"""Starts lie on a grid of so many values, the product of the local DMC's pools: its windows then share their layers."""

REGIONS = {"first": slice(0, 10), "middle": slice(40, 60), "last": slice(90, 100), "all": slice(0, 100)}
"""Positions: the first and the last tenth, the fifth in the middle, and all."""

_VERSION = 1  # of the kept files
_TOGETHER = 4  # trainings that are predicted at once
_LABELS = {"all": "all weights", "conv": "convolutional weights", "fc": "fully connected weights"}


def measure(source: Source) -> dict[str, pd.DataFrame]:
    """Return accuracy by cell and by region, how far it falls, convolutional against other weights, and the tasks.

    Raises:
        MissingDataError: too few trainings, or a method that reads no windows.
    """
    cells, tasks, regions, falls, parts = [], [], [], [], []
    for target in _targets(source):
        found = {}
        for part in PARTS:
            ids, right, facts = _right(source, target, part)
            found[part] = (ids, right)
            keys = {"target": target, "part": part}
            tasks.append(keys | facts)
            cells.append(cell_table(right).assign(**keys))
            regions.append(region_table(right).assign(**keys))
            falls.append(fall_table(right).assign(**keys))
        parts.append({"target": target} | compare(*found["conv"], *found["fc"]))
    tables = {"cells": cells, "regions": regions, "falls": falls}
    joined = {key: pd.concat(rows, ignore_index=True).round(5) for key, rows in tables.items()}
    return joined | {"parts": pd.DataFrame(parts).round(5), "tasks": pd.DataFrame(tasks)}


def _targets(source: Source) -> list[str]:
    """Return the targets that are asked for; by default those of :data:`TARGETS` that have enough trainings."""
    from baselines.registry import find_method

    if "windows" not in find_method(source.method).inputs:
        raise MissingDataError(f"needs a method that reads windows, {source.method} does not; nws bench methods lists them")
    source.population(("random",))
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
    """Return the official task, or where that lacks trainings those of its five folds that do not.

    Raises ``TaskNotAvailableError``.
    """
    name = f"{PARTS[part]}/{target}"
    try:
        return [nws_data.load_task(name, source.root)]
    except TaskNotAvailableError as error:
        tasks = []
        for fold in range(5):
            try:
                tasks.append(nws_data.load_task(f"{name}/fold={fold}", source.root))
            except TaskNotAvailableError:
                continue
        if not tasks:
            raise error
        return tasks


def _right(source: Source, target: str, part: Part) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return ids ``(trainings,)``, which windows were told right, bool ``(trainings, snapshots, positions)``, and facts."""
    tasks = tested(source, target, part)
    results = [_predicted(source, task) for task in source.progress(tasks, f"{PARTS[part]}/{target}")]
    ids = np.concatenate([ids for ids, _ in results])
    order = np.argsort(ids)
    spill = [nws_data.FixedWindows(task.test.data, part=part).spill_share for task in tasks]
    facts = {
        "task": f"{PARTS[part]}/{target}",
        "folds": 0 if tasks[0].official else len(tasks),
        "method": source.method,
        "classes": tasks[0].n_classes,
        "train_trainings": round(np.mean([sum(task.counts["train"].values()) for task in tasks])),
        "test_trainings": len(ids),
        "chance": 1 / tasks[0].n_classes,
        "spill_share": round(float(np.mean(spill)), 4),
    }
    return ids[order], np.concatenate([right for _, right in results])[order], facts


def _predicted(source: Source, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and right windows of one task's test trainings, from the kept file where there is one."""
    if source.kept is None:
        with TemporaryDirectory() as folder:
            return _fit_and_predict(source, task, Path(folder))
    stem, key = _key(source, task)
    path = source.kept / f"map-{stem}-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["ids"], kept["right"]
    except (OSError, ValueError, KeyError):
        pass
    checkpoints = source.kept / f"map-{stem}-{key}-fit"
    ids, right = _fit_and_predict(source, task, checkpoints)
    with atomic_file(path) as stream:
        np.savez_compressed(stream, ids=ids, right=right)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return ids, right


def _key(source: Source, task: Task) -> tuple[str, str]:
    """Return what task and method are called in names of files, and a digest of all that decides the prediction."""
    from baselines.registry import resolve_options
    from benchmarks.leaderboard.files.results import safe_name
    from benchmarks.leaderboard.runs.environment import commit
    from benchmarks.leaderboard.runs.plans import method_label, source_file
    from nws_data.hashing import file_sha256, sha256_of

    file = source_file(source.method)
    decides = {
        "version": _VERSION,
        "data": task.data_digest,
        "task": task.name,
        "method": source.method,
        "options": {key: str(value) for key, value in resolve_options(source.method, {}).items()},
        "code": [commit(), file_sha256(file) if file else None],
        "windows": [N_POSITIONS, GRID],
    }
    digest = sha256_of(json.dumps(decides, sort_keys=True).encode())[:12]
    return safe_name(f"{task.name}-{method_label(source.method)}"), digest


def _fit_and_predict(source: Source, task: Task, checkpoints: Path) -> tuple[np.ndarray, np.ndarray]:
    from baselines.registry import make_method, options_of

    given: dict[str, Any] = {"folder": checkpoints} if "folder" in options_of(source.method) else {}
    method = make_method(source.method, **given)
    method.fit(task)
    data = nws_data.open(source.root, "random")
    ids = np.unique(task.test.data["training"])
    rows = np.flatnonzero(np.isin(data["training"], ids))
    rows = rows[np.lexsort((data["snapshot"][rows], data["training"][rows]))]
    names = [str(name) for name in task.classes or ()]
    right = np.empty((len(ids), N_SNAPSHOTS, N_POSITIONS), bool)
    pieces = np.array_split(np.arange(len(ids)), -(-len(ids) // _TOGETHER))
    for piece in source.progress(pieces, "windows"):
        view = windows(data.take(rows.reshape(len(ids), N_SNAPSHOTS)[piece].flatten()), task)
        values = np.asarray(method.predict(view))
        labels = values.argmax(1) if values.ndim == 2 else values.astype(np.int64)
        truth = np.array([names.index(str(value)) for value in view.data[task.target]])
        right[piece] = (labels == np.repeat(truth, N_POSITIONS)).reshape(len(piece), N_SNAPSHOTS, N_POSITIONS)
    return ids, right


def windows(data: nws_data.NWSDataset, task: Task) -> nws_data.FixedWindows:
    """Return windows of a task's length and part at all positions of every snapshot."""
    assert task.spec.length is not None and task.spec.family.part is not None
    return nws_data.FixedWindows(
        data, task.spec.length, task.spec.family.part, windows_per_vector=N_POSITIONS, grid=GRID, target=task.target
    )


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
            rows.append({"region": region, "snapshot": snapshot, **_columns("accuracy", found)})
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
            found = _columns("fall", fall) | _columns("beyond_middle", beyond)
            rows.append({"region": region, "until": until, **found})
    return pd.DataFrame(rows)


def compare(ids: np.ndarray, right: np.ndarray, other_ids: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Return accuracy at the last snapshot, over all positions, of convolutional and other weights, and their difference.

    Over the trainings that both were tested on.
    """
    both, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    n = np.full(len(both), N_POSITIONS)
    conv, fc = right[here, -1].sum(1), other[there, -1].sum(1)
    found = _columns("conv", clustered_accuracy(n, conv)) | _columns("fc", clustered_accuracy(n, fc))
    return {"trainings": len(both)} | found | _columns("difference", paired_difference(n, conv, fc))


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


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
    figure, axes = style.grid(len(targets), len(PARTS), 3.7, 2.4, sharex=True, sharey=True)
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr, call-arg]
    for line, (target, parts, low, high) in zip(axes, targets, strict=True):
        for panel, (part, cells) in zip(line, parts.items(), strict=True):
            # Cells reach half a step beyond 0 and 100 %.
            extent = (-0.5, 100.5, 100 + 50 / (N_SNAPSHOTS - 1), -50 / (N_SNAPSHOTS - 1))
            image = panel.imshow(
                100 * _matrix(cells), cmap=style.MAP, vmin=100 * low, vmax=100 * high, aspect="auto", extent=extent
            )
            panel.set_title(f"{target}, {_LABELS[part]}")
            panel.spines[:].set_visible(False)
        chance = 100 * tasks.loc[(target, "all"), "chance"]
        line[0].set_ylabel("training progress (%)")
        figure.colorbar(image, ax=line[-1], label=f"accuracy (%), chance {chance:.0f}")
    for panel in axes[-1]:
        panel.set_xlabel("window position (%)")
    return figure


def _draw_regions(tables: dict[str, pd.DataFrame]) -> Figure:
    regions, tasks = tables["regions"], tables["tasks"]
    targets = list(dict.fromkeys(regions["target"]))
    figure, axes = style.grid(len(targets), len(PARTS), 3.7, 2.2, sharex=True, sharey="row")
    names = {"first": "first tenth of positions", "middle": "middle fifth", "last": "last tenth"}
    progress = np.linspace(0, 100, N_SNAPSHOTS)
    for line, target in zip(axes, targets, strict=True):
        for panel, part in zip(line, PARTS, strict=True):
            own = regions[(regions["target"] == target) & (regions["part"] == part)]
            for colour, marker, (region, label) in zip(style.COLOURS, "o^s", names.items(), strict=False):
                rows = own[own["region"] == region]
                panel.plot(
                    progress, 100 * rows["accuracy"], color=colour, label=label, marker=marker, markersize=3, linewidth=1.2
                )
                panel.fill_between(
                    progress, 100 * rows["accuracy_low"], 100 * rows["accuracy_high"], color=colour, alpha=0.12, linewidth=0
                )
            chance = 100 * tasks.loc[tasks["target"] == target, "chance"].iloc[0]
            panel.axhline(chance, color=style.INK, linestyle=":", linewidth=1, label="chance")
            panel.set_title(f"{target}, {_LABELS[part]}")
            panel.grid(True, axis="y")
        line[0].set_ylabel("accuracy (%)")
    for panel in axes[-1]:
        panel.set_xlabel("training progress (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def tell(tables: dict[str, pd.DataFrame]) -> str:
    """Return how it was tested, how far initialization falls at the ends, and where the image set is told better."""
    tasks, falls, parts = tables["tasks"], tables["falls"], tables["parts"]
    first = tasks.iloc[0]
    n = _range(tasks["test_trainings"])
    folds = _range(tasks.loc[tasks["folds"] > 0, "folds"])
    text = f"{first['method']} on windows of {n} test trainings"
    text += f" (in {folds} folds where the official test side is too small)" if folds else ""
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
        x=np.linspace(0, 100, N_POSITIONS).round(1),
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
