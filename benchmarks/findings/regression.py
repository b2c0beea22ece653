"""Test accuracy from hyper-parameters, one linear model an image set.

Converged trainings alone; accuracies of each image set are normalised to mean 0 and variance 1. The learning rate enters as
one standardised number, each value of the other hyper-parameters as a class of its own: 34 coefficients at the paper's
table. Classes of one hyper-parameter are coded as deviations that sum to 0, since with one binary term for each class the
coefficients are not determined; so a class's coefficient is what it adds to the average over the classes.
Source: Eilertsen et al. 2020, Section 4.2 and Supplement D, Figures 1, 14, 15.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import statsmodels.api as sm
from matplotlib.figure import Figure
from scipy.linalg import block_diag

from benchmarks.findings.panels import heat
from benchmarks.findings.source import MissingDataError, Source, value_order
from benchmarks.findings.tables import Tables, where
from nws_data.plot import style
from nws_data.space.hyperparameters import CLASSES

SIGNIFICANT = 0.05
_FACTORS = tuple(name for name in CLASSES if name != "dataset")
_FOLDS = 10


def measure(source: Source) -> Tables:
    """Return coefficients, errors and correlations of the coefficients; raises ``MissingDataError``."""
    frame = source.trainings()
    frame = frame[frame["passed"]]
    coefficients, errors = [], []
    for name in value_order("dataset", frame["dataset"]):
        found = fit(frame[frame["dataset"] == name])
        if found is not None:
            coefficients.append(found[0].assign(dataset=name))
            errors.append({"dataset": name} | found[1])
    if not coefficients:
        raise MissingDataError(
            "no image set has as many converged trainings as the model has coefficients; build more trainings, or longer "
            "ones (--epoch-cap)"
        )
    table = pd.concat(coefficients, ignore_index=True)
    return {"coefficients": table, "errors": pd.DataFrame(errors), "correlations": correlations(table)}


def fit(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]] | None:
    """Fit the model to the trainings of one image set.

    Returns:
        Rows ``term, value, coefficient, std_error, p_value`` for the constant, the learning rate and every class; and the
        number of trainings, R², mean absolute errors of the model, of the constant model and of the model on trainings
        held out in ten folds. None where the trainings are no more than the coefficients.
    """
    design, terms, contrasts = _design(frame)
    if len(frame) <= design.shape[1] or frame["final_test_accuracy"].std() == 0:
        return None
    accuracy = frame["final_test_accuracy"].to_numpy(float)
    target = (accuracy - accuracy.mean()) / accuracy.std()
    model = sm.OLS(target, design).fit()
    test = model.t_test(contrasts)
    rows = pd.DataFrame(terms, columns=["term", "value"]).assign(
        coefficient=test.effect, std_error=np.ravel(test.sd), p_value=np.ravel(test.pvalue)
    )
    held = np.arange(len(target)) % _FOLDS  # plan order is random
    left_out = np.empty(len(target))
    for fold in range(_FOLDS):
        kept = held != fold
        left_out[~kept] = design[~kept] @ np.linalg.lstsq(design[kept], target[kept], rcond=None)[0]
    return rows, {
        "trainings": len(frame),
        "r_squared": model.rsquared,
        "error": np.abs(model.resid).mean(),
        "error_held_out": np.abs(target - left_out).mean(),
        "error_constant": np.abs(target).mean(),
    }


def _design(frame: pd.DataFrame) -> tuple[np.ndarray, list[tuple[str, str]], np.ndarray]:
    """Return the design matrix ``(n, k)``, the terms, and the combination of coefficients ``(terms, k)`` that each is."""
    rate = frame["learning_rate"].to_numpy(float)
    columns = [np.ones(len(frame)), (rate - rate.mean()) / (rate.std() or 1)]
    terms = [("constant", ""), ("learning_rate", "")]
    blocks = [np.eye(2)]
    for name in _FACTORS:
        values = value_order(name, frame[name])
        if len(values) < 2:
            continue
        last = (frame[name] == values[-1]).to_numpy(float)
        columns += [(frame[name] == value).to_numpy(float) - last for value in values[:-1]]
        terms += [(name, str(value)) for value in values]
        blocks.append(np.vstack([np.eye(len(values) - 1), -np.ones(len(values) - 1)]))
    return np.stack(columns, axis=1), terms, block_diag(*blocks)


def correlations(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of the coefficients of each pair of image sets, the constant left out."""
    kept = coefficients[coefficients["term"] != "constant"]
    wide = kept.pivot_table(index=["term", "value"], columns="dataset", values="coefficient", sort=False)
    matrix = wide.corr()
    pairs = [(a, b, matrix.loc[a, b]) for a in matrix for b in matrix if a != b]
    return pd.DataFrame(pairs, columns=["dataset", "other", "correlation"])


def draw(tables: Tables) -> dict[str, Figure]:
    """Return the coefficients of every image set, and errors with correlations."""
    coefficients = tables["coefficients"].fillna({"value": ""})
    names = list(dict.fromkeys(coefficients["dataset"]))
    figure, axes = style.grid(len(names), 1, 11, 2.5, sharex=True, sharey=True)
    found = set(zip(coefficients["term"], coefficients["value"], strict=True))
    every = [("learning_rate", ""), *((name, str(value)) for name in _FACTORS for value in CLASSES[name])]
    order = [key for key in every if key in found]
    groups = list(dict.fromkeys(term for term, _ in order))
    for (panel,), name in zip(axes, names, strict=True):
        rows = where(coefficients, dataset=name).set_index(["term", "value"])
        for x, key in enumerate(order):
            if key not in rows.index:
                continue
            row = rows.loc[key]
            colour = style.COLOURS[groups.index(key[0]) % len(style.COLOURS)]
            sure, height, spread = row["p_value"] <= SIGNIFICANT, row["coefficient"], row["std_error"]
            panel.bar(x, height, color=colour, alpha=1 if sure else 0.35, yerr=spread, ecolor=style.INK)
            if not sure:
                panel.annotate("*", (x, max(height, 0) + spread), ha="center", va="bottom", color=style.INK)
        panel.axhline(0, color=style.INK, linewidth=0.8)
        error = tables["errors"].set_index("dataset").loc[name]
        counts = f"{int(error['trainings']):,} trainings, R² {error['r_squared']:.2f}"
        panel.set(ylabel="coefficient (sd)", title=f"{name}: {counts}; *, pale: p above {SIGNIFICANT:.0%}")
        for x, (left, right) in enumerate(pairwise(order)):
            if left[0] != right[0]:
                panel.axvline(x + 0.5, color=style.GRID, linewidth=0.8, zorder=0)
    labels = [f"{term} {value}".strip().replace("_", " ") for term, value in order]
    axes[-1][0].set_xticks(range(len(order)), labels, rotation=60, ha="right", rotation_mode="anchor")
    return {"coefficients": figure, "errors": _draw_errors(tables)}


def _draw_errors(tables: Tables) -> Figure:
    errors, pairs = tables["errors"], tables["correlations"]
    names = list(errors["dataset"])
    shown = [name.replace("fashion_mnist", "fashion").replace("_", " ") for name in names]
    figure, ((bars, cells),) = style.grid(1, 2, 5.5, 3.2)
    places = np.arange(len(errors))
    kinds = (("error_constant", "constant model"), ("error_held_out", "linear, held out"), ("error", "linear, in sample"))
    for i, (column, label) in enumerate(kinds):
        bars.bar(places + (i - 1) * 0.27, errors[column], 0.25, color=style.COLOURS[i], label=label)
    bars.set_xticks(places, shown)
    bars.set(ylabel="mean absolute error (standard deviations)", title="Error of the models")
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=8)
    matrix = pairs.pivot(index="dataset", columns="other", values="correlation").reindex(index=names, columns=names)
    matrix = matrix.to_numpy(float, copy=True)
    np.fill_diagonal(matrix, 1)
    texts = [[f"{value:.2f}" for value in row] for row in matrix]
    heat(cells, matrix, texts, shown, shown, min(0.0, np.nanmin(matrix)), 1)
    cells.set_title("Correlation of the coefficients")
    return figure


def tell(tables: Tables) -> str:
    """Return which hyper-parameters span most, the errors and the correlation."""
    coefficients, errors, pairs = tables["coefficients"], tables["errors"], tables["correlations"]
    factors = coefficients[coefficients["term"].isin(_FACTORS)]
    spans = factors.groupby(["term", "dataset"])["coefficient"].agg(np.ptp)
    mean = spans.groupby("term").mean().sort_values(ascending=False)
    first = ", ".join(f"{name} ({span:.2f} sd)" for name, span in mean.head(3).items())
    text = (
        f"Over {int(errors['trainings'].sum()):,} converged trainings on {len(errors)} image sets the coefficients of "
        f"{first} span most. The mean error is {errors['error'].mean():.2f} sd "
        f"({errors['error_held_out'].mean():.2f} on held-out trainings), of the constant model "
        f"{errors['error_constant'].mean():.2f}."
    )
    if len(pairs):
        low, high = pairs["correlation"].min(), pairs["correlation"].max()
        text += f" Between image sets the coefficients correlate at {low:.2f} to {high:.2f}."
    return text
