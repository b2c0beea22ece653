"""Whether claims of the paper hold on a dataset, by the numbers of its figures and by its trainings.

A claim holds where its 95 % interval lies on the paper's side, fails where it lies on the other, and is open else, or where
the figure that it follows from is missing. What has no interval, peaks and the order of the regression's terms, goes by the
numbers alone. Differences of accuracy between hyper-parameters are those of final test
accuracies about the mean of their image set and population, with Welch's interval over all finite trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from benchmarks.findings.bars import compared_method
from benchmarks.findings.importance import clear
from benchmarks.findings.results import is_trivial
from benchmarks.findings.source import MissingDataError, Source
from benchmarks.findings.tables import Tables, percent, points, span, where
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.tasks.table import parse_task

HOLDS, FAILS, OPEN = "holds", "fails", "open"
CLOSE, NEAR = 0.05, 0.1
"""Accuracies that differ by less are about the same, or near each other."""

OF_POPULATIONS = ", population "
"""What stands in evidence before the populations, where each of them can tell a claim."""

_FEW = 5  # trainings of a side of a comparison
_ENOUGH = 50  # trainings of a fit, for a claim that nothing is clear
_STRONG = 0.5  # correlation


@dataclass(frozen=True)
class Finding:
    """What a dataset shows of a claim: numbers in words, the verdict, and the size of the evidence."""

    found: str
    verdict: str
    evidence: str = ""


@dataclass
class Evidence:
    """The tables of the figures that were made, by figure and name, and the trainings."""

    source: Source
    tables: dict[str, Tables]

    def table(self, figure: str, name: str, **values: object) -> pd.DataFrame:
        """Return rows with these values of a figure and its twin of windows; raises ``MissingDataError`` without any."""
        made = [self.tables[key][name] for key in (figure, f"{figure}-windows") if key in self.tables]
        if not made:
            raise MissingDataError(f"the figure {figure} is missing")
        found = where(pd.concat(made, ignore_index=True), **values)
        if values and found.empty:
            raise MissingDataError("no results")
        return found

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """All finite trainings, with ``accuracy``: of the last snapshot less the mean of image set and population."""
        names = [name for name in POPULATIONS if name in self.source.manifest.populations]
        frames = [replace(self.source, populations=(name,)).trainings().assign(population=name) for name in names]
        frame = pd.concat(frames, ignore_index=True)
        mean = frame.groupby(["population", "dataset"])["final_test_accuracy"].transform("mean")
        kinds = {"glorot": frame["initialization"].str.match("glorot"), "constant": frame["initialization"] == "constant"}
        return frame.assign(accuracy=frame["final_test_accuracy"] - mean, **kinds)

    def best(self, family: str, methods: str = "") -> pd.DataFrame:
        """Return the most accurate method of each target, best target first: of those that look at weights, so called."""
        table = self.table("bars", "accuracies", family=family)
        table = table[~table["method"].map(is_trivial) & table["method"].str.startswith(methods)]
        return table.loc[table.groupby("target")["accuracy"].idxmax()].sort_values("accuracy", ascending=False)


def sided(low: float, high: float, border: float = 0.0) -> str:
    """Return the verdict of an interval that should lie above a border."""
    return HOLDS if low > border else FAILS if high < border else OPEN


def above(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """Return the verdict of rows with ``low`` and ``high`` that should all lie above all others."""
    return sided(first["low"].min() - second["high"].max(), first["high"].min() - second["low"].max())


def within(low: float, high: float, most: float) -> str:
    """Return the verdict of an interval that should lie in [-most, most]."""
    return HOLDS if max(-low, high) < most else FAILS if low > most or high < -most else OPEN


def _of(populations: Iterable[str]) -> str:
    return OF_POPULATIONS + " and ".join(sorted(set(populations)))


def _majority(verdicts: list[str]) -> str:
    return next((verdict for verdict in (HOLDS, FAILS) if verdicts.count(verdict) > len(verdicts) / 2), OPEN)


def contrast(first: str, second: str, close: bool = False) -> Callable[[Evidence], Finding]:
    """Return a check that some trainings reach higher accuracies than others, or with ``close`` about the same.

    The arguments are queries on the table of trainings.
    """

    def check(evidence: Evidence) -> Finding:
        sides = [evidence.trainings.query(rows) for rows in (first, second)]
        a, b = (side["accuracy"].to_numpy(float) for side in sides)
        if not len(a) + len(b):  # of a population that is not there
            return Finding("no such trainings", OPEN)
        size = f"{len(a)} and {len(b)} trainings{_of(pd.concat(sides)['population'])}"
        if min(len(a), len(b)) < _FEW:
            return Finding("too few trainings", OPEN, size)
        interval = ttest_ind(a, b, equal_var=False).confidence_interval()
        verdict = within(interval.low, interval.high, CLOSE) if close else sided(interval.low, interval.high)
        return Finding(f"{points(a.mean() - b.mean(), interval.low, interval.high)} points of accuracy", verdict, size)

    return check


def ranked(
    family: str, wanted: tuple[str, ...], after: tuple[str, ...] = (), methods: str = ""
) -> Callable[[Evidence], Finding]:
    """Return a check that targets are told more accurately than all others, but those in ``after``."""

    def check(evidence: Evidence) -> Finding:
        best = evidence.best(family, methods).set_index("target")
        rest = best.drop(index=[name for name in (*wanted, *after) if name in best.index])
        own = best.loc[[name for name in wanted if name in best.index]]
        if len(own) < len(wanted) or rest.empty:
            return Finding("too few hyper-parameters have results", OPEN)
        shown = [_accuracy(best.loc[name], name) for name in (*own.index, rest["accuracy"].idxmax())]
        return Finding(f"{', '.join(shown[:-1])}; the best other is {shown[-1]}", above(own, rest), _tested(best))

    return check


def _accuracy(row: pd.Series, name: str) -> str:
    return f"{name} {percent(row['accuracy'], row['low'], row['high'])} by {row['method']}"


def _tested(table: pd.DataFrame) -> str:
    return f"{span(table['trainings'])} test trainings"


def hardest(evidence: Evidence) -> Finding:
    """Check that of whole vectors batch size is told least, relative to chance."""
    best = evidence.best("global").set_index("target")
    if "batch_size" not in best.index or len(best) < 2:
        return Finding("no results for batch size and others", OPEN)
    scaled = best[["accuracy", "low", "high"]].sub(best["chance"], axis=0).div(1 - best["chance"], axis=0)
    others = scaled.drop(index="batch_size")
    name, verdict = others["accuracy"].idxmin(), above(others, scaled.loc[["batch_size"]])
    text = f"{_accuracy(best.loc['batch_size'], 'batch size')}; the next, relative to chance, is "
    return Finding(text + _accuracy(best.loc[name], name), verdict, _tested(best))


def filter_size(evidence: Evidence) -> Finding:
    """Check that the filter size is told from fully connected weights better than by chance."""
    best = where(evidence.best("local-fc"), target="filter_size")
    if best.empty:
        return Finding("no results for local-fc/filter_size", OPEN)
    row = best.iloc[0]
    text = f"{_accuracy(row, 'filter_size')}, chance {row['chance']:.0%}"
    return Finding(text, sided(row["low"], row["high"], row["chance"]), f"{int(row['trainings'])} test trainings")


def difference(family: str, comparison: str, near: bool = False) -> Callable[[Evidence], Finding]:
    """Return a check of paired differences: of most targets above zero, or with ``near`` less than ten points either way."""

    def check(evidence: Evidence) -> Finding:
        parts = comparison == "conv less fc"
        only = {"target": "dataset"} if parts else {}
        table = evidence.table("bars", "differences", family=family, comparison=comparison, **only)
        table = where(table, a=compared_method(table))
        rows = [f"{r.target} {points(r.difference, r.low, r.high)}" for r in table.itertuples()]
        verdict = _majority([within(r.low, r.high, NEAR) if near else sided(r.low, r.high) for r in table.itertuples()])
        who = table["a"].iloc[0] if parts else f"{table['a'].iloc[0]} less {table['b'].iloc[0]}"
        return Finding(f"{who}: {', '.join(rows)} points", verdict, _tested(table))

    return check


def telling(target: str, level: str, wanted: Callable[[str], bool], scope: str = "layers") -> Callable[[Evidence], Finding]:
    """Return a check that of groups of features (or of single ones) a wanted one has the largest relative norm."""

    def check(evidence: Evidence) -> Finding:
        table = evidence.table("importance", "features" if level == "feature" else "groups", scope=scope, target=target)
        if level == "feature":
            table = table.assign(group=table["tensor"].fillna("") + " " + table["statistic"])
        else:
            table = where(table, level=level)
        fit = evidence.table("importance", "fits", scope=scope, target=target).iloc[0]
        accuracy = percent(*fit[["accuracy", "accuracy_low", "accuracy_high"]])
        size = f"fits on {int(fit['trainings_half'])} trainings, {accuracy}"
        size += f", without {fit['left_out']}" if isinstance(fit["left_out"], str) and fit["left_out"] else ""
        ordered = table.sort_values("relative", ascending=False)
        shown = ", ".join(f"{r.group.strip()} {r.relative:.1f}" for r in ordered.head(3).itertuples())
        right = [wanted(name) for name in ordered.loc[clear(ordered), "group"]]
        verdict = OPEN if not right else HOLDS if right[0] else OPEN if any(right) else FAILS
        return Finding(f"largest norms, of their mean: {shown}; {len(right)} clear of permuted labels", verdict, size)

    return check


def no_single_feature(evidence: Evidence) -> Finding:
    """Check that no layer-wise feature of the initialization is clear of permuted labels."""
    found = telling("initialization", "feature", lambda name: False)(evidence)
    fits = evidence.table("importance", "fits", scope="layers", target="initialization")
    enough = fits["trainings_half"].iloc[0] >= _ENOUGH  # with fewer nothing would be clear either
    return Finding(found.found, HOLDS if found.verdict == OPEN and enough else found.verdict, found.evidence)


def global_statistics(evidence: Evidence) -> Finding:
    """Check that the linear SVM tells the initialization better from 16 statistics than from 480."""
    table = evidence.table("bars", "accuracies", family="global", target="initialization").set_index("method")
    if not {"svm-linear-16", "svm-linear-480"} <= set(table.index):
        return Finding("no results of both linear SVMs", OPEN)
    of_all, layers = table.loc[["svm-linear-16"]], table.loc[["svm-linear-480"]]
    texts = [percent(*rows.iloc[0][["accuracy", "low", "high"]]) for rows in (of_all, layers)]
    text = f"16 statistics of all weights {texts[0]}, 480 by layer {texts[1]}"
    return Finding(text, above(of_all, layers), _tested(table))


def leaves_first(evidence: Evidence) -> Finding:
    """Check that accuracy on the initialization falls more in the first and last windows than in the middle."""
    table = evidence.table("map", "falls", target="initialization", part="all", until="mean")
    rows = table.set_index("region").loc[["first", "last"]]
    sides = [sided(r.beyond_middle_low, r.beyond_middle_high) for r in rows.itertuples()]
    columns = ["beyond_middle", "beyond_middle_low", "beyond_middle_high"]
    texts = [f"{name} tenth {points(*rows.loc[name, columns])}" for name in rows.index]
    verdict = HOLDS if sides == [HOLDS] * 2 else FAILS if FAILS in sides else OPEN
    size = f"{span(evidence.table('map', 'tasks')['test_trainings'])} test trainings"
    return Finding(f"accuracy falls beyond the middle's by: {', '.join(texts)} points", verdict, size)


def worst_pair(evidence: Evidence) -> Finding:
    """Check that no pair of initialization and activation is worse than constant with sigmoid."""
    frame = evidence.trainings
    pairs = frame.groupby(["initialization", "activation"])["accuracy"].agg(["mean", "sem", "size"]).sort_values("mean")
    worst, own = pairs.index[0], ("constant", "sigmoid")
    if own not in pairs.index or len(pairs) < 2:
        return Finding("no such trainings", OPEN)
    other = pairs.drop(index=[own]).iloc[0]
    gap, spread = other["mean"] - pairs.loc[own, "mean"], 1.96 * np.hypot(other["sem"], pairs.loc[own, "sem"])
    name = " with ".join(pairs.drop(index=[own]).index[0])
    text = f"{points(-gap, -gap - spread, -gap + spread)} points beside {name}"
    verdict = sided(gap - spread, gap + spread) if worst == own else FAILS if gap + spread < 0 else OPEN
    size = f"{int(pairs.loc[own, 'size'])} and {int(other['size'])} trainings"
    return Finding(text, verdict, size + _of(frame["population"]))


def two_modes(evidence: Evidence) -> Finding:
    """Check that every image set's accuracies have a peak of failures and one of successes."""
    modes = evidence.table("statistics", "modes")
    both = modes["failure_peak"].notna() & modes["success_peak"].notna()
    texts = [f"{r.dataset} {100 * r.failure_peak:.0f} and {100 * r.success_peak:.0f} %" for r in modes[both].itertuples()]
    verdict = HOLDS if both.all() else OPEN if both.any() else FAILS
    return Finding(f"peaks of failure and success: {', '.join(texts) or 'none'}", verdict, _sizes(evidence, modes))


def failure_peaks(evidence: Evidence) -> Finding:
    """Check that failures peak near 10 and near 20 %."""
    modes = evidence.table("statistics", "modes")
    peaks = [value for name in ("failure_peak", "failure_peak_2") for value in modes[name].dropna()]
    ten, twenty = (any(low < value < high for value in peaks) for low, high in ((0.07, 0.13), (0.15, 0.25)))
    text = ", ".join(f"{100 * value:.0f}" for value in sorted(peaks))
    verdict = HOLDS if ten and twenty else FAILS if not ten else OPEN
    return Finding(f"peaks below the thresholds, over all image sets: {text} %", verdict, _sizes(evidence, modes))


def _sizes(evidence: Evidence, modes: pd.DataFrame) -> str:
    return f"{int(modes['trainings'].sum()):,} trainings on {len(modes)} image sets{_of([evidence.source.population])}"


def correlated(evidence: Evidence) -> Finding:
    """Check the least correlation of coefficients between image sets, with Fisher's interval."""
    pairs, errors = evidence.table("regression", "correlations"), evidence.table("regression", "errors")
    if pairs.empty:
        return Finding("one image set alone", OPEN)
    terms = evidence.table("regression", "coefficients").groupby("dataset").size().min() - 1
    half = 1.96 / np.sqrt(max(terms - 3, 1))  # of Fisher's z
    low, high = (np.tanh(np.arctanh(pairs["correlation"].min()) + sign * half) for sign in (-1, 1))
    text = f"{pairs['correlation'].min():.2f} to {pairs['correlation'].max():.2f}, the least [{low:.2f}, {high:.2f}]"
    n = int(errors["trainings"].sum())
    size = f"{n} converged trainings on {len(errors)} image sets{_of([evidence.source.population])}"
    return Finding(text, sided(low, high, _STRONG), size)


def spans(evidence: Evidence) -> Finding:
    """Check which hyper-parameters span the regression most."""
    table = evidence.table("regression", "coefficients")
    table = table[~table["term"].isin(["constant", "learning_rate"])]
    spans = table.groupby(["term", "dataset"])["coefficient"].agg(np.ptp).groupby("term").mean().sort_values(ascending=False)
    text = ", ".join(f"{name} {span:.2f}" for name, span in spans.head(4).items())
    first = list(spans.index[:3])
    verdict = HOLDS if first[0] == "initialization" and {*first[1:]} == {"activation", "optimizer"} else OPEN
    verdict = FAILS if "initialization" not in first else verdict
    errors = evidence.table("regression", "errors")
    size = f"{int(errors['trainings'].sum())} converged trainings{_of([evidence.source.population])}"
    return Finding(f"spans of the coefficients in sd: {text}", verdict, size)


def of_converged(column: str, more: int, less: int) -> Callable[[Evidence], Finding]:
    """Return a check on random trainings above their threshold: one value of a column against another."""
    first, second = (f"population == 'random' and passed and {column} == {value}" for value in (more, less))
    return contrast(first, second)


def logarithmic(evidence: Evidence) -> Finding:
    """Check that accuracy rises with the logarithm of the window length, for most targets."""
    slopes = evidence.table("subset-size", "slopes", family="local")
    rows = [f"{r.target} {points(r.slope, r.low, r.high)} ({r.method})" for r in slopes.itertuples()]
    verdict = _majority([sided(r.low, r.high) for r in slopes.itertuples()])
    text = f"points a doubling: {', '.join(rows)}; median R² of the lines {slopes['r_squared'].median():.2f}"
    return Finding(text, verdict, _tested(slopes))


def steeper(evidence: Evidence) -> Finding:
    """Check that the slope of activation is above that of dataset."""
    slopes = evidence.table("subset-size", "slopes", family="local")
    of = {name: rows.set_index("target") for name, rows in slopes.groupby("method")}
    of = {name: rows for name, rows in of.items() if {"activation", "dataset"} <= set(rows.index)}
    if not of:
        return Finding("no results for both", OPEN)
    name = next((name for name in of if name.startswith("dmc")), next(iter(of)))
    a, b = of[name].loc[["activation"]], of[name].loc[["dataset"]]
    texts = [points(*rows.iloc[0][["slope", "low", "high"]]) for rows in (a, b)]
    text = f"{name}: activation {texts[0]}, dataset {texts[1]} points a doubling"
    return Finding(text, above(a, b), _tested(of[name]))


def near_chance(evidence: Evidence) -> Finding:
    """Check that logistic regression is nowhere above chance, nor can be by ten points."""
    table = evidence.table("bars", "accuracies")
    table = table[table["method"].str.startswith("logistic")]
    if table.empty:
        return Finding("no results of logistic regression", OPEN)
    told = table[table["low"] > table["chance"]]
    top = table.loc[(table["accuracy"] - table["chance"]).idxmax()]
    text = f"above chance on {len(told)} of {len(table)} tasks, most on {top['family']}/{_accuracy(top, top['target'])}"
    sure = (table["high"] < table["chance"] + NEAR).all()
    populations = [parse_task(f"{row.family}/{row.target}").family.population for row in table.itertuples()]
    return Finding(text, FAILS if len(told) else HOLDS if sure else OPEN, f"{_tested(table)}{_of(populations)}")


def not_the_norm(evidence: Evidence) -> Finding:
    """Check that accuracy stays without norm values and biases."""
    cases, table = (evidence.table("batch-norm", name) for name in ("cases", "differences"))
    told = where(cases, batch_norm=True, stripped=False)
    told = told.loc[told["accuracy_low"] > told["chance"], "target"]
    table = where(table[table["target"].isin(told)], what="stripped, with batch norm")
    if table.empty:
        return Finding("nothing is told above chance with all weights", OPEN, _tested(cases))
    rows = [f"{r.target} {points(r.estimate, r.low, r.high)}" for r in table.itertuples()]
    less = (table["high"] < 0).sum()
    verdict = HOLDS if not less and table["low"].min() > -NEAR else FAILS if less > len(table) / 2 else OPEN
    return Finding(f"without norm values and biases: {', '.join(rows)} points", verdict, _tested(cases))
