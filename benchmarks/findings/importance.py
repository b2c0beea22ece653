"""Which statistics of weights tell a hyper-parameter: coefficient norms of linear support vector machines.

The machine is that of ``svm-linear-480`` and ``svm-linear-16``, one class versus the rest, on standardised features: 16
statistics of each tensor of each layer of the fixed architecture (last four snapshots), and 16 of each official window of
random architectures (last two). A feature's norm is over the classes. Each repeat draws two halves of the trainings above
their thresholds, as many of every class: it fits on one and is scored on the other. A second fit of each repeat has its
labels permuted between trainings. Correlated features share their coefficients and norms grow with the overlap of classes,
so what labels say is compared as relative norm, by the mean over all features of the fit, with that under permuted labels.
Source: Eilertsen et al. 2020, Section 5.2 and Supplement E.2, Figures 3, 16, 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from threadpoolctl import threadpool_limits

import nws_data
from baselines.shallow import LinearSvm
from benchmarks.findings.panels import panels_of
from benchmarks.findings.source import MissingDataError, Source, value_order
from benchmarks.findings.tables import Tables, columns_of, where
from nws_data.features.extract import feature_names, statistics_features
from nws_data.features.statistics import STATISTICS
from nws_data.hashing import sha256_of
from nws_data.machine import usable_cores
from nws_data.plot import style
from nws_data.progress import progress_bar
from nws_data.read.views import WeightView
from nws_data.space.hyperparameters import CLASSES, Population
from nws_data.tasks.metrics import clustered_accuracy
from nws_data.tasks.table import GLOBAL_TARGETS, MIN_TRAININGS, WINDOW_LENGTH

TARGETS = ("dataset", "optimizer", "activation", "initialization")
SCOPES: dict[Population, tuple[str, tuple[str, ...], int]] = {
    "fixed": ("layers", GLOBAL_TARGETS, 4),
    "random": ("windows", tuple(CLASSES), 2),
}
"""By population: what features are of, targets that vary in it, last snapshots of each training."""


@dataclass(frozen=True)
class Labelled:
    """Items that belong to trainings, and the trainings' labels."""

    of: np.ndarray  # each item's training, int64 (items,)
    trainings: np.ndarray  # ids, (trainings,)
    labels: np.ndarray  # int64 (trainings,) in [0, n_classes), -1 of classes that are left out
    n_classes: int
    left_out: dict[object, int]  # how many trainings each class has that is left out


def measure(source: Source) -> Tables:
    """Return norms by feature and by group of features, and how well the fits do; raises ``MissingDataError``."""
    source.check_snapshots()
    features: list[pd.DataFrame] = []
    groups: list[pd.DataFrame] = []
    fits: list[dict[str, Any]] = []
    scope, allowed, _ = SCOPES[source.population]
    view, kind = _view(source), "layers" if scope == "layers" else "vector"
    table = statistics_features(view, kind, progress=True)  # type: ignore[arg-type]
    for target in (name for name in source.targets or TARGETS if name in allowed):
        about = {"scope": scope, "target": target}
        labelled = label(view, target)
        left_out = {"left_out": ", ".join(f"{value} {n}" for value, n in labelled.left_out.items())}
        if labelled.n_classes < 2:
            fits.append(about | left_out)
            continue
        names = feature_names(view, kind)  # type: ignore[arg-type]
        norms, permuted, fit = repeat(table, labelled, source.repeats, f"{target}, {scope}")
        fits.append(about | fit | left_out)
        features.append(_by_feature(names, norms, permuted).assign(**about))
        groups.append(_by_group(names, norms, permuted).assign(**about))
    if not features:
        reasons = "; ".join(f"{row['target']} ({row['scope']}): {row['left_out'] or 'one class'}" for row in fits)
        raise _too_few(source, reasons)
    tables = {"features": pd.concat(features), "groups": pd.concat(groups), "fits": pd.DataFrame(fits)}
    return {name: table.set_index(["scope", "target"]).reset_index() for name, table in tables.items()}


def _too_few(source: Source, reasons: str) -> MissingDataError:
    return MissingDataError(
        f"no hyper-parameter has two classes of {2 * MIN_TRAININGS} trainings above the accuracy threshold; too few: "
        f"{reasons}; build more with nws build --population {source.population} --trainings 500 --out {source.root}"
    )


def _view(source: Source) -> WeightView:
    """Return the last snapshots of finite trainings above their threshold, whole or as official windows."""
    scope, _, last = SCOPES[source.population]
    data = nws_data.open(source.root, source.population)
    data = data.take(np.flatnonzero(data["finite"] & data["passed"]))
    if not len(data):
        raise _too_few(source, "all")
    data = data.select(last=last)
    return nws_data.GlobalVectors(data) if scope == "layers" else nws_data.FixedWindows(data, WINDOW_LENGTH)


def label(view: WeightView, target: str) -> Labelled:
    """Return the trainings of a view's items with their labels; classes of too few trainings for two halves are left out."""
    ids, first, of = np.unique(view.data["training"], return_index=True, return_inverse=True)
    values = view.data[target][first]
    classes = value_order(target, values.tolist() if target == "dataset" else CLASSES[target])
    counts = {value: int((values == value).sum()) for value in classes}
    kept = [value for value, n in counts.items() if n >= 2 * MIN_TRAININGS]
    labels = np.array([kept.index(value) if value in kept else -1 for value in values.tolist()])
    return Labelled(of[view.rows], ids, labels, len(kept), {value: n for value, n in counts.items() if value not in kept})


def halves(items: Labelled, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of trainings, int64, with as many of every class in each: a function of ids, labels and number."""
    order = _shuffled(items.trainings, f"half {number}")
    of_class = [order[items.labels[order] == value] for value in range(items.n_classes)]
    n = min(map(len, of_class)) // 2
    return np.concatenate([c[:n] for c in of_class]), np.concatenate([c[n : 2 * n] for c in of_class])


def _shuffled(trainings: np.ndarray, key: str) -> np.ndarray:
    return np.argsort([sha256_of(f"{key}/{training}".encode()) for training in trainings.tolist()])


def repeat(table: np.ndarray, items: Labelled, repeats: int, what: str) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Fit on halves of the trainings again and again, on features float64 ``(items, features)``.

    Returns:
        Norms ``(repeats, features)`` with the labels and with permuted labels; trainings a half, classes, and accuracy on
        the other halves with its interval clustered by training.
    """
    # The fits release the interpreter's lock.
    with threadpool_limits(1):
        parts = Parallel(usable_cores(), prefer="threads", return_as="generator")(
            delayed(_repeat_once)(table, items, number) for number in range(repeats)
        )
        norms, permuted, counts = zip(*progress_bar(iterable=parts, total=repeats, desc=what), strict=True)
    n_items, n_right = np.sum(counts, axis=0)
    seen = n_items > 0
    accuracy = clustered_accuracy(n_items[seen], n_right[seen])
    n_fitted = len(halves(items, 0)[0])
    found = {"classes": items.n_classes, "trainings_half": n_fitted, "chance": 1 / items.n_classes}
    return np.stack(norms), np.stack(permuted), found | columns_of("accuracy", accuracy)


def _repeat_once(table: np.ndarray, items: Labelled, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return norms with the labels and with permuted labels, and each training's held out and right items, ``(2, n)``."""
    fitted, held = halves(items, number)
    machine = _fit(table, items, fitted, items.labels[fitted])
    chosen = np.flatnonzero(np.isin(items.of, held))
    right = machine.predict(table[chosen]) == items.labels[items.of[chosen]]
    counts = [np.bincount(items.of[chosen], weights, len(items.trainings)) for weights in (None, right)]
    others = items.labels[fitted][_shuffled(items.trainings[fitted], f"permuted {number}")]
    permuted = _fit(table, items, fitted, others)
    return coefficient_norms(machine[-1].coef_), coefficient_norms(permuted[-1].coef_), np.stack(counts)


def _fit(table: np.ndarray, items: Labelled, fitted: np.ndarray, labels: np.ndarray) -> Any:
    """Return the machine fitted on all items of some trainings with these labels."""
    label_of = np.full(len(items.trainings), -1)
    label_of[fitted] = labels
    chosen = np.flatnonzero(label_of[items.of] >= 0)
    return LinearSvm().new_estimator(False).fit(table[chosen], label_of[items.of[chosen]])


def coefficient_norms(coefficients: np.ndarray) -> np.ndarray:
    """Return each feature's norm over the classes; of two classes the one row stands for both, with opposite signs."""
    squares = (np.asarray(coefficients, float) ** 2).sum(0)
    return np.sqrt(squares * (2 if len(coefficients) == 1 else 1))


def _by_feature(names: Sequence[str], norms: np.ndarray, permuted: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame([name.rpartition(".")[::2] for name in names], columns=["tensor", "statistic"])
    return table.assign(**_summary(norms, norms, permuted, permuted))


def _by_group(names: Sequence[str], norms: np.ndarray, permuted: np.ndarray) -> pd.DataFrame:
    """Return means over groups of features: tensors, and kinds of conv and fc; of windows moments, percentiles, sources."""
    members: dict[tuple[str, str], list[int]] = {}
    for i, name in enumerate(names):
        tensor, _, statistic = name.rpartition(".")
        for key in _groups_of(tensor, statistic):
            members.setdefault(key, []).append(i)
    means = [np.stack([x[:, own].mean(1) for own in members.values()], axis=1) for x in (norms, permuted)]
    table = pd.DataFrame(list(members), columns=["level", "group"])
    return table.assign(features=[len(own) for own in members.values()], **_summary(means[0], norms, means[1], permuted))


def _groups_of(tensor: str, statistic: str) -> list[tuple[str, str]]:
    kind = "percentiles" if statistic.removeprefix("gradient_").startswith("p") else "moments"
    if not tensor:
        of = "gradient" if statistic.startswith("gradient") else "values"
        return [("kind", f"{kind} of {of}")]
    layer, _, what = tensor.partition(".")
    return [("tensor", tensor), ("kind", f"{layer.rstrip('0123456789')} {what}"), ("statistics", kind)]


def _summary(norms: np.ndarray, every: np.ndarray, permuted: np.ndarray, every_p: np.ndarray) -> dict[str, np.ndarray]:
    """Return means and standard deviations over repeats: of norms, relative norms and relative norms of permuted labels."""
    relative, chance = norms / every.mean(1, keepdims=True), permuted / every_p.mean(1, keepdims=True)
    ddof = 1 if len(norms) > 1 else 0
    found: dict[str, np.ndarray] = {}
    for name, values in {"norm": norms, "relative": relative, "permuted": chance}.items():
        found |= {name: values.mean(0), f"{name}_sd": values.std(0, ddof=ddof)}
    return found


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
    text = "16 statistics of each tensor: mean, variance, skewness, percentiles 1, 25, 50, 75, 99; the same of the gradient"
    axes[-1][0].set_xlabel(text)
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
    fits = tables["fits"].fillna({"left_out": ""})
    is_windows = fits["scope"].iloc[0] == "windows"
    head = f"Windows of {WINDOW_LENGTH:,} values" if is_windows else "Layer-wise statistics"
    made = [_tell_target(tables, row) for row in fits[fits["accuracy"].notna()].to_dict("records")]
    absent = fits.loc[fits["accuracy"].isna(), "target"].tolist()
    text = f"{head}: {'; '.join(made)}."
    return text + (f" {head}: too few trainings for {', '.join(absent)}." if absent else "")


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
