"""The paper's claims beside a dataset: what its figures' numbers say of each, with the interval, and whether it holds.

A claim holds where its 95 % interval lies on the paper's side, fails where it lies on the other, and is open else, or where
the figure that it follows from is missing. Differences of accuracy between hyper-parameters are those of final test
accuracies about the mean of their image set and population, with Welch's interval over all finite trainings.
Source: Eilertsen et al. 2020, the sections that stand beside each claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.findings.importance import clear
from benchmarks.findings.results import is_trivial, percent
from benchmarks.findings.source import MissingDataError, Source
from nws_data.atomic import write_bytes

if TYPE_CHECKING:
    from benchmarks.findings.registry import Tables

HOLDS, FAILS, OPEN = "holds", "fails", "open"
CLOSE = 0.05
"""Accuracies that differ by less are about the same."""

_FEW = 5  # trainings of a side of a comparison


@dataclass(frozen=True)
class Finding:
    """What a dataset shows of a claim: numbers in words, the verdict, and the size of the evidence."""

    found: str
    verdict: str
    evidence: str = ""


class Evidence:
    """The tables of the figures that were made, and the trainings.

    Args:
        source: what was measured.
        tables: of each figure that is there, by name.
    """

    def __init__(self, source: Source, tables: dict[str, Tables]) -> None:
        self._source, self._tables = source, tables

    def table(self, figure: str, name: str) -> pd.DataFrame:
        """Return a figure's table; raises ``MissingDataError`` where the figure is missing."""
        if figure not in self._tables:
            raise MissingDataError(f"the figure {figure} is missing")
        return self._tables[figure][name]

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """All finite trainings, with ``accuracy``: of the last snapshot less the mean of image set and population."""
        frames = [self._source.trainings([name]).assign(population=name) for name in self._source.manifest.populations]
        frame = pd.concat(frames, ignore_index=True)
        mean = frame.groupby(["population", "dataset"])["final_test_accuracy"].transform("mean")
        return frame.assign(accuracy=frame["final_test_accuracy"] - mean, glorot=frame["initialization"].str.match("glorot"))

    def best(self, family: str) -> pd.DataFrame:
        """Return the most accurate method of each target, best target first; trivial methods do not count."""
        table = self.table("bars", "accuracies")
        table = table[(table["family"] == family) & ~table["method"].map(is_trivial)]
        if table.empty:
            raise MissingDataError(f"no results for {family}/*")
        return table.loc[table.groupby("target")["accuracy"].idxmax()].sort_values("accuracy", ascending=False)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, where it stands, and how it is checked."""

    text: str
    paper: str
    check: Callable[[Evidence], Finding]


def sided(low: float, high: float, border: float = 0.0) -> str:
    """Return the verdict of an interval that should lie above a border."""
    return HOLDS if low > border else FAILS if high < border else OPEN


def contrast(first: Callable, second: Callable, close: bool = False) -> Callable[[Evidence], Finding]:
    """Return a check that some trainings reach higher accuracies than others, or with ``close`` about the same.

    The arguments take the table of trainings and return which rows are meant.
    """

    def check(evidence: Evidence) -> Finding:
        from scipy.stats import ttest_ind

        frame = evidence.trainings
        a, b = (frame.loc[rows(frame), "accuracy"].to_numpy(float) for rows in (first, second))
        size = f"{len(a)} and {len(b)} trainings"
        if min(len(a), len(b)) < _FEW:
            return Finding("too few trainings", OPEN, size)
        interval = ttest_ind(a, b, equal_var=False).confidence_interval()
        verdict = sided(interval.low, interval.high)
        if close:
            inside, outside = max(-interval.low, interval.high) < CLOSE, interval.low > CLOSE or interval.high < -CLOSE
            verdict = HOLDS if inside else FAILS if outside else OPEN
        return Finding(f"{_points(a.mean() - b.mean(), interval.low, interval.high)} points of accuracy", verdict, size)

    return check


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _is(column: str, *values: object) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda frame: frame[column].isin(values)


def _ranked(family: str, wanted: tuple[str, ...], after: tuple[str, ...] = ()) -> Callable[[Evidence], Finding]:
    """Return a check that targets are told more accurately than all others, but those in ``after``."""

    def check(evidence: Evidence) -> Finding:
        best = evidence.best(family).set_index("target")
        rest = best.drop(index=[name for name in (*wanted, *after) if name in best.index])
        own = best.loc[[name for name in wanted if name in best.index]]
        if len(own) < len(wanted) or rest.empty:
            return Finding("too few hyper-parameters have results", OPEN)
        verdict = HOLDS if own["low"].min() > rest["high"].max() else OPEN
        verdict = FAILS if (own["high"].max() < rest["low"]).any() else verdict
        shown = [_accuracy(best.loc[name], name) for name in (*own.index, rest["accuracy"].idxmax())]
        return Finding(f"{', '.join(shown[:-1])}; the best other is {shown[-1]}", verdict, _tested(best))

    return check


def _accuracy(row: pd.Series, name: str) -> str:
    return f"{name} {percent(row['accuracy'], row['low'], row['high'])} by {row['method']}"


def _tested(table: pd.DataFrame) -> str:
    return f"{int(table['trainings'].min())} to {int(table['trainings'].max())} test trainings"


def _hardest(evidence: Evidence) -> Finding:
    best = evidence.best("global").set_index("target")
    if "batch_size" not in best.index or len(best) < 2:
        return Finding("no results for batch size and others", OPEN)
    scaled = {name: (best[name] - best["chance"]) / (1 - best["chance"]) for name in ("accuracy", "low", "high")}
    others = scaled["accuracy"].drop("batch_size")
    verdict = HOLDS if scaled["high"]["batch_size"] < scaled["low"].drop("batch_size").min() else OPEN
    verdict = FAILS if scaled["low"]["batch_size"] > scaled["high"].drop("batch_size").min() else verdict
    name = others.idxmin()
    text = f"{_accuracy(best.loc['batch_size'], 'batch size')}; the next, relative to chance, is "
    return Finding(text + _accuracy(best.loc[name], name), verdict, _tested(best))


def _above_chance(family: str, target: str) -> Callable[[Evidence], Finding]:
    def check(evidence: Evidence) -> Finding:
        best = evidence.best(family).set_index("target")
        if target not in best.index:
            return Finding(f"no results for {family}/{target}", OPEN)
        row = best.loc[target]
        text = f"{_accuracy(row, target)}, chance {row['chance']:.0%}"
        return Finding(text, sided(row["low"], row["high"], row["chance"]), f"{int(row['trainings'])} test trainings")

    return check


def _difference(family: str, comparison: str, near: bool = False) -> Callable[[Evidence], Finding]:
    """Return a check of paired differences: above zero for most targets, or with ``near`` about zero on average."""

    def check(evidence: Evidence) -> Finding:
        table = evidence.table("bars", "differences")
        table = table[(table["family"] == family) & (table["comparison"] == comparison)]
        if comparison == "conv less fc":
            table = table[table["target"] == "dataset"]
        if table.empty:
            return Finding("no results", OPEN)
        deep = table[table["a"].str.startswith("dmc")]
        table = table[table["a"] == (deep if len(deep) else table)["a"].iloc[0]]
        rows = [f"{r.target} {_points(r.difference, r.low, r.high)}" for r in table.itertuples()]
        sides = [sided(r.low, r.high) for r in table.itertuples()]
        mean = table["difference"].mean()
        if near:
            verdict = HOLDS if abs(mean) < 2 * CLOSE and OPEN in sides else OPEN if OPEN in sides else FAILS
        else:
            verdict = next((side for side in (HOLDS, FAILS) if sides.count(side) > len(sides) / 2), OPEN)
        who = table["a"].iloc[0] if comparison == "conv less fc" else f"{table['a'].iloc[0]} less {table['b'].iloc[0]}"
        return Finding(f"{who}: {', '.join(rows)} points", verdict, _tested(table))

    return check


def _telling(target: str, level: str, wanted: Callable[[str], bool], scope: str = "layers") -> Callable[[Evidence], Finding]:
    """Return a check that of groups of features (or of single ones) a wanted one has the largest relative norm."""

    def check(evidence: Evidence) -> Finding:
        single = level == "feature"
        table = evidence.table("importance", "features" if single else "groups")
        table = table[(table["scope"] == scope) & (table["target"] == target)]
        if single:
            table = table.assign(group=table["tensor"].fillna("") + " " + table["statistic"])
        else:
            table = table[table["level"] == level]
        if table.empty:
            return Finding(f"no fit for {target}", OPEN)
        fits = evidence.table("importance", "fits")
        fit = fits[(fits["scope"] == scope) & (fits["target"] == target)].iloc[0]
        size = (
            f"fits on {int(fit['trainings_half'])} trainings, {percent(*fit[['accuracy', 'accuracy_low', 'accuracy_high']])}"
        )
        size += f", without {fit['left_out']}" if isinstance(fit["left_out"], str) and fit["left_out"] else ""
        ordered, telling = table.sort_values("relative", ascending=False), table[clear(table)]
        shown = ", ".join(f"{r.group.strip()} {r.relative:.1f}" for r in ordered.head(3).itertuples())
        right = telling["group"].map(wanted)
        verdict = OPEN if telling.empty else HOLDS if wanted(telling.loc[telling["relative"].idxmax(), "group"]) else OPEN
        verdict = FAILS if len(telling) and not right.any() else verdict
        return Finding(f"largest norms, of their mean: {shown}; {len(telling)} clear of permuted labels", verdict, size)

    return check


def _no_single_feature(evidence: Evidence) -> Finding:
    found = _telling("initialization", "feature", lambda name: False)(evidence)
    return Finding(found.found, {OPEN: HOLDS}.get(found.verdict, found.verdict), found.evidence)


def _global_statistics(evidence: Evidence) -> Finding:
    table = evidence.table("bars", "accuracies")
    table = table[(table["family"] == "global") & (table["target"] == "initialization")].set_index("method")
    if not {"svm-linear-16", "svm-linear-480"} <= set(table.index):
        return Finding("no results of both linear SVMs", OPEN)
    of_all, layers = table.loc["svm-linear-16"], table.loc["svm-linear-480"]
    verdict = HOLDS if of_all["low"] > layers["high"] else FAILS if of_all["high"] < layers["low"] else OPEN
    texts = [percent(row["accuracy"], row["low"], row["high"]) for row in (of_all, layers)]
    return Finding(f"16 statistics of all weights {texts[0]}, 480 by layer {texts[1]}", verdict, _tested(table))


def _leaves_first(evidence: Evidence) -> Finding:
    table = evidence.table("map", "falls")
    table = table[(table["target"] == "initialization") & (table["part"] == "all") & (table["until"] == "mean")]
    if table.empty:
        return Finding("no map of the initialization", OPEN)
    rows = table.set_index("region").loc[["first", "last"]]
    sides = [sided(r.beyond_middle_low, r.beyond_middle_high) for r in rows.itertuples()]
    columns = ["beyond_middle", "beyond_middle_low", "beyond_middle_high"]
    texts = [f"{name} tenth {_points(*rows.loc[name, columns])}" for name in rows.index]
    verdict = HOLDS if sides == [HOLDS] * 2 else FAILS if FAILS in sides else OPEN
    return Finding(f"accuracy falls beyond the middle's by: {', '.join(texts)} points", verdict)


def _worst_pair(evidence: Evidence) -> Finding:
    frame = evidence.trainings
    pairs = frame.groupby(["initialization", "activation"])["accuracy"].agg(["mean", "sem", "size"]).sort_values("mean")
    worst, own = pairs.index[0], ("constant", "sigmoid")
    if own not in pairs.index or len(pairs) < 2:
        return Finding("no such trainings", OPEN)
    other = pairs.drop(index=[own]).iloc[0]
    gap, spread = other["mean"] - pairs.loc[own, "mean"], 1.96 * np.hypot(other["sem"], pairs.loc[own, "sem"])
    name = " with ".join(pairs.drop(index=[own]).index[0])
    text = f"{_points(-gap, -gap - spread, -gap + spread)} points beside {name}"
    verdict = sided(gap - spread, gap + spread) if worst == own else FAILS if gap + spread < 0 else OPEN
    return Finding(text, verdict, f"{int(pairs.loc[own, 'size'])} and {int(other['size'])} trainings")


def _two_modes(evidence: Evidence) -> Finding:
    modes = evidence.table("statistics", "modes")
    both = modes["failure_peak"].notna() & modes["success_peak"].notna()
    texts = [f"{r.dataset} {100 * r.failure_peak:.0f} and {100 * r.success_peak:.0f} %" for r in modes[both].itertuples()]
    verdict = HOLDS if both.all() else OPEN if both.any() else FAILS
    return Finding(f"peaks of failure and success: {', '.join(texts) or 'none'}", verdict, _sizes(modes))


def _failure_peaks(evidence: Evidence) -> Finding:
    modes = evidence.table("statistics", "modes")
    peaks = [value for name in ("failure_peak", "failure_peak_2") for value in modes[name].dropna()]
    ten, twenty = (any(low < value < high for value in peaks) for low, high in ((0.07, 0.13), (0.15, 0.25)))
    text = ", ".join(f"{100 * value:.0f}" for value in sorted(peaks))
    verdict = HOLDS if ten and twenty else FAILS if not ten else OPEN
    return Finding(f"peaks below the thresholds, over all image sets: {text} %", verdict, _sizes(modes))


def _sizes(modes: pd.DataFrame) -> str:
    return f"{int(modes['trainings'].sum()):,} trainings on {len(modes)} image sets"


def _correlated(evidence: Evidence) -> Finding:
    pairs, errors = evidence.table("regression", "correlations"), evidence.table("regression", "errors")
    if pairs.empty:
        return Finding("one image set alone", OPEN)
    terms = evidence.table("regression", "coefficients").groupby("dataset").size().min() - 1
    half = 1.96 / np.sqrt(max(terms - 3, 1))  # of Fisher's z
    low, high = (np.tanh(np.arctanh(pairs["correlation"].min()) + sign * half) for sign in (-1, 1))
    text = f"{pairs['correlation'].min():.2f} to {pairs['correlation'].max():.2f}, the least [{low:.2f}, {high:.2f}]"
    return Finding(
        text, sided(low, high), f"{int(errors['trainings'].sum())} converged trainings on {len(errors)} image sets"
    )


def _spans(evidence: Evidence) -> Finding:
    table = evidence.table("regression", "coefficients")
    table = table[~table["term"].isin(["constant", "learning_rate"])]
    spans = table.groupby(["term", "dataset"])["coefficient"].agg(np.ptp).groupby("term").mean().sort_values(ascending=False)
    text = ", ".join(f"{name} {span:.2f}" for name, span in spans.head(4).items())
    first = list(spans.index[:3])
    verdict = HOLDS if first[0] == "initialization" and {*first[1:]} == {"activation", "optimizer"} else OPEN
    verdict = FAILS if "initialization" not in first else verdict
    errors = evidence.table("regression", "errors")
    return Finding(
        f"spans of the coefficients in sd: {text}", verdict, f"{int(errors['trainings'].sum())} converged trainings"
    )


def _of_converged(column: str, more: object, less: object) -> Callable[[Evidence], Finding]:
    def rows(value: object) -> Callable[[pd.DataFrame], pd.Series]:
        return lambda frame: (frame["population"] == "random") & frame["passed"] & (frame[column] == value)

    return contrast(rows(more), rows(less))


def _logarithmic(evidence: Evidence) -> Finding:
    slopes = evidence.table("subset-size", "slopes")
    slopes = slopes[slopes["family"] == "local"]
    rows = [f"{r.target} {_points(r.slope, r.low, r.high)} ({r.method})" for r in slopes.itertuples()]
    sides = [sided(r.low, r.high) for r in slopes.itertuples()]
    verdict = next((side for side in (HOLDS, FAILS) if sides.count(side) > len(sides) / 2), OPEN)
    text = f"points a doubling: {', '.join(rows)}; median R² of the lines {slopes['r_squared'].median():.2f}"
    return Finding(text, verdict, _tested(slopes)) if len(slopes) else Finding("no results", OPEN)


def _steeper(evidence: Evidence) -> Finding:
    slopes = evidence.table("subset-size", "slopes")
    of = {name: rows.set_index("target") for name, rows in slopes[slopes["family"] == "local"].groupby("method")}
    of = {name: rows for name, rows in of.items() if {"activation", "dataset"} <= set(rows.index)}
    if not of:
        return Finding("no results for both", OPEN)
    name = next((name for name in of if name.startswith("dmc")), next(iter(of)))
    a, b = of[name].loc["activation"], of[name].loc["dataset"]
    verdict = HOLDS if a["low"] > b["high"] else FAILS if a["high"] < b["low"] else OPEN
    texts = [_points(row["slope"], row["low"], row["high"]) for row in (a, b)]
    return Finding(f"{name}: activation {texts[0]}, dataset {texts[1]} points a doubling", verdict, _tested(of[name]))


def _svm_locally(evidence: Evidence) -> Finding:
    table = evidence.table("bars", "accuracies")
    table = table[(table["family"] == "local") & table["method"].str.startswith("svm")]
    if "initialization" not in set(table["target"]) or table["target"].nunique() < 2:
        return Finding("no results of SVMs", OPEN)
    best = table.loc[table.groupby("target")["accuracy"].idxmax()].set_index("target")
    own, rest = best.loc["initialization"], best.drop(index="initialization")
    verdict = HOLDS if own["low"] > rest["high"].max() else FAILS if own["high"] < rest["low"].max() else OPEN
    name = rest["accuracy"].idxmax()
    text = f"{_accuracy(own, 'initialization')}; the best other is {_accuracy(rest.loc[name], name)}"
    return Finding(text, verdict, _tested(best))


def _near_chance(evidence: Evidence) -> Finding:
    table = evidence.table("bars", "accuracies")
    table = table[table["method"].str.startswith("logistic")]
    if table.empty:
        return Finding("no results of logistic regression", OPEN)
    above = table[table["low"] > table["chance"]]
    top = table.loc[(table["accuracy"] - table["chance"]).idxmax()]
    text = f"above chance on {len(above)} of {len(table)} tasks, most on {top['family']}/{_accuracy(top, top['target'])}"
    return Finding(text, FAILS if len(above) else HOLDS, _tested(table))


def _not_the_norm(evidence: Evidence) -> Finding:
    table = evidence.table("batch-norm", "differences")
    table = table[table["what"] == "stripped, with batch norm"]
    if table.empty:
        return Finding("no comparison", OPEN)
    rows = [f"{r.target} {_points(r.estimate, r.low, r.high)}" for r in table.itertuples()]
    less = (table["high"] < 0).sum()
    verdict = HOLDS if not less and table["low"].min() > -2 * CLOSE else FAILS if less > len(table) / 2 else OPEN
    return Finding(f"without norm values and biases: {', '.join(rows)} points", verdict)


def _glorot(frame: pd.DataFrame) -> pd.Series:
    return frame["glorot"]


CLAIMS = (
    Claim("Initialization is the most influential on accuracy, then activation and optimizer", "4.2, Figure 1", _spans),
    Claim("Glorot initialization is far better than constant and normal", "D", contrast(_glorot, lambda f: ~f["glorot"])),
    Claim("ELU is slightly better than ReLU", "D", contrast(_is("activation", "elu"), _is("activation", "relu"))),
    Claim(
        "ReLU and ELU are better than sigmoid and tanh",
        "D",
        contrast(_is("activation", "relu", "elu"), _is("activation", "sigmoid", "tanh")),
    ),
    Claim("Constant initialization with sigmoid is the worst pair", "A.3, Figure 9", _worst_pair),
    Claim(
        "With other initialisations sigmoid is better than tanh",
        "A.3, Figure 9",
        contrast(
            lambda f: (f["initialization"] != "constant") & (f["activation"] == "sigmoid"),
            lambda f: (f["initialization"] != "constant") & (f["activation"] == "tanh"),
        ),
    ),
    Claim(
        "Under Glorot initialization momentum is on par with Adam and RMSprop",
        "D, Figure 10",
        contrast(
            lambda f: f["glorot"] & (f["optimizer"] == "momentum"),
            lambda f: f["glorot"] & (f["optimizer"] != "momentum"),
            close=True,
        ),
    ),
    Claim(
        "Under other initialisations Adam and RMSprop are better than momentum",
        "D, Figure 10",
        contrast(
            lambda f: ~f["glorot"] & (f["optimizer"] != "momentum"), lambda f: ~f["glorot"] & (f["optimizer"] == "momentum")
        ),
    ),
    Claim(
        "Augmentation helps under Glorot initialization",
        "A.3, Figure 11",
        contrast(lambda f: f["glorot"] & f["augmentation"], lambda f: f["glorot"] & ~f["augmentation"]),
    ),
    Claim(
        "Augmentation harms under other initialisations",
        "A.3, Figure 11",
        contrast(lambda f: ~f["glorot"] & ~f["augmentation"], lambda f: ~f["glorot"] & f["augmentation"]),
    ),
    Claim("Wider convolutional layers are better (48 against 16)", "4.2", _of_converged("width_conv", 48, 16)),
    Claim("Wider fully connected layers are better (192 against 64)", "4.2", _of_converged("width_fc", 192, 64)),
    Claim("Fewer fully connected layers are better (3 against 5)", "4.2", _of_converged("depth_fc", 3, 5)),
    Claim("Accuracies have two modes, failures and successes", "C, Figure 8", _two_modes),
    Claim("Failures peak at 10 and at about 20 %", "C, Figure 8", _failure_peaks),
    Claim("Coefficients are strongly correlated between image sets", "D, Figure 15", _correlated),
    Claim("Initialization is told best from whole vectors", "5.2, Figure 2", _ranked("global", ("initialization",))),
    Claim("Initialization is told best from windows", "5.3, Figure 4", _ranked("local", ("initialization",))),
    Claim(
        "Activation and optimizer come after it in windows",
        "5.3, Figure 4",
        _ranked("local", ("activation", "optimizer"), after=("initialization", "filter_size")),
    ),
    Claim("Batch size is the hardest to tell", "5.2, Figure 2", _hardest),
    Claim(
        "A linear SVM on layer-wise statistics comes near the deep meta-classifier",
        "5.2, Figure 2",
        _difference("global", "deep less linear", near=True),
    ),
    Claim(
        "On windows the deep meta-classifier is far better than a linear SVM",
        "5.3, Figure 4",
        _difference("local", "deep less linear"),
    ),
    Claim(
        "The dataset is told better from convolutional than from fully connected weights",
        "5.3, Figure 4",
        _difference("local", "conv less fc"),
    ),
    Claim("The filter size can be told from fully connected weights", "5.3", _above_chance("local-fc", "filter_size")),
    Claim("Of windows, SVMs tell the initialization best", "5.3, Figure 4", _svm_locally),
    Claim("Logistic regression on statistics is not better than chance", "5.1", _near_chance),
    Claim(
        "The optimizer is told by the biases of convolutional layers",
        "5.2, Figure 3",
        _telling("optimizer", "kind", lambda name: name == "conv bias"),
    ),
    Claim(
        "The activation is told by the running means of batch norm in fully connected layers",
        "5.2, Figure 3",
        _telling("activation", "kind", lambda name: name == "fc mean"),
    ),
    Claim(
        "The dataset is told by the 1 and 99 percentiles of the gradient of the first layer's filters",
        "5.2, Figure 3",
        _telling("dataset", "feature", lambda name: name in ("conv1.kernel gradient_p1", "conv1.kernel gradient_p99")),
    ),
    Claim("No single layer-wise feature tells the initialization", "5.2, E.2", _no_single_feature),
    Claim("The initialization is told better by statistics of all weights together", "5.2, Figure 2", _global_statistics),
    Claim(
        "Of windows, percentiles tell the initialization more than moments",
        "E.2, Figure 17",
        _telling("initialization", "kind", lambda name: name.startswith("percentiles"), scope="windows"),
    ),
    Claim("First and last layers leave their initialization fastest", "5.3, Figure 5", _leaves_first),
    Claim("Accuracy grows with the logarithm of the window length", "F.2, Figure 18", _logarithmic),
    Claim("It grows more steeply for activation than for dataset", "F.2, Figure 18", _steeper),
    Claim("Norm values and biases are not what carries the information", "F.3, Figure 19", _not_the_norm),
)
"""The claims that a dataset can test, in the paper's order."""


def check_claims(source: Source, tables: dict[str, Tables]) -> list[tuple[Claim, Finding]]:
    """Return each claim with what the figures' tables and the trainings say of it."""
    evidence, found = Evidence(source, tables), []
    for claim in CLAIMS:
        try:
            found.append((claim, claim.check(evidence)))
        except MissingDataError as error:
            found.append((claim, Finding(str(error), OPEN)))
    return found


def write_claims(found: list[tuple[Claim, Finding]], path: Path) -> None:
    """Write the claims as a Markdown table."""
    counts = {verdict: sum(finding.verdict == verdict for _, finding in found) for verdict in (HOLDS, FAILS, OPEN)}
    lines = [
        f"{counts[HOLDS]} of {len(found)} claims hold on this data, {counts[FAILS]} fail, {counts[OPEN]} cannot be told.",
        "",
        "| claim | paper | here | verdict | evidence |",
        "|---|---|---|---|---|",
        *(f"| {c.text} | {c.paper} | {f.found} | {f.verdict} | {f.evidence} |" for c, f in found),
    ]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
