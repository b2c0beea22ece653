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
from threadpoolctl import threadpool_limits

import nws_data
from baselines.shallow import LinearSvm
from benchmarks.findings.importance_pictures import draw as draw
from benchmarks.findings.importance_pictures import tell as tell
from benchmarks.findings.source import MissingDataError, Source, value_order
from benchmarks.findings.tables import Tables, columns_of
from nws_data.features.extract import feature_names, statistics_features
from nws_data.hashing import sha256_of
from nws_data.machine import usable_cores
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
