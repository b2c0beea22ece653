"""Test accuracy from hyper-parameters: coefficients, p-values and errors against linear algebra by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.findings.regression import correlations, draw, fit, tell
from nws_data.space.hyperparameters import CLASSES, sample_many

FACTORS = [name for name in CLASSES if name != "dataset"]
EFFECTS = {"glorot_normal": 0.05, "constant": -0.06, "momentum": -0.02}


def trainings(n: int, effects: dict[str, float], seed: int = 0) -> pd.DataFrame:
    """Return trainings with hyper-parameters of a real plan, whose accuracy is the sum of planted effects and noise."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame([drawn.to_dict() for drawn in sample_many(range(1000 * seed, 1000 * seed + n), "random")])
    planted = sum((frame[c].map(effects).fillna(0) for c in ("initialization", "optimizer")), np.zeros(n))
    return frame.assign(
        final_test_accuracy=0.7
        + planted
        + 20 * (0.5 if effects else 0) * frame["learning_rate"] * 0.1
        + 0.02 * random.standard_normal(n)
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return trainings(500, EFFECTS)


def test_there_are_34_coefficients(frame: pd.DataFrame) -> None:
    found = fit(frame)
    assert found is not None and len(found[0]) == 34 and not found[0][["term", "value"]].duplicated().any()


def test_coefficients_errors_and_p_values_by_hand(frame: pd.DataFrame) -> None:
    """Dummy coding without the first class of each, normal equations, then deviations from the mean of the classes."""
    rows, errors = fit(frame)  # type: ignore[misc]
    y = stats.zscore(frame["final_test_accuracy"].to_numpy())
    rate = stats.zscore(frame["learning_rate"].to_numpy())
    x, names = [np.ones(len(y)), rate], [("constant", ""), ("learning_rate", "")]
    for name in FACTORS:
        for value in CLASSES[name][1:]:
            x.append((frame[name] == value).to_numpy(float))
            names.append((name, str(value)))
    x = np.stack(x, 1)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    residual = y - x @ beta
    free = len(y) - x.shape[1]
    covariance = inverse * (residual @ residual) / free
    for _, row in rows.iterrows():
        weights = np.zeros(len(names))
        if row["term"] in FACTORS:
            values = CLASSES[row["term"]]
            for value in values[1:]:
                weights[names.index((row["term"], str(value)))] = (str(value) == row["value"]) - 1 / len(values)
        elif row["term"] == "learning_rate":
            weights[1] = 1
        else:  # the constant: the average over the classes of each
            weights[0] = 1
            for i, (name, _) in enumerate(names[2:], 2):
                weights[i] = 1 / len(CLASSES[name])
        effect, error = weights @ beta, np.sqrt(weights @ covariance @ weights)
        assert row["coefficient"] == pytest.approx(effect, abs=1e-9)
        assert row["std_error"] == pytest.approx(error, rel=1e-6)
        assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(effect / error), free), rel=1e-5, abs=1e-12)
    assert errors["error"] == pytest.approx(np.abs(residual).mean())
    assert errors["error_constant"] == pytest.approx(np.abs(y).mean())
    assert errors["r_squared"] == pytest.approx(1 - residual @ residual / (y @ y))


def test_planted_effects_are_recovered_and_told(frame: pd.DataFrame) -> None:
    rows, errors = fit(frame)  # type: ignore[misc]
    sd = frame["final_test_accuracy"].std(ddof=0)
    found = rows.set_index("value")["coefficient"]
    mean = sum(EFFECTS.get(value, 0) for value in CLASSES["initialization"]) / 4
    for value in CLASSES["initialization"]:
        assert found[value] * sd == pytest.approx(EFFECTS.get(value, 0) - mean, abs=0.006)
    assert rows.set_index("value").loc[["constant", "glorot_normal", "momentum"], "p_value"].max() < 1e-6
    assert errors["error_held_out"] < 0.7 * errors["error_constant"]
    two = pd.concat([rows.assign(dataset="mnist"), rows.assign(dataset="svhn", coefficient=-rows["coefficient"])])
    tables = {
        "coefficients": two,
        "errors": pd.DataFrame([{"dataset": "mnist"} | errors, {"dataset": "svhn"} | errors]),
        "correlations": correlations(two),
    }
    assert tables["correlations"]["correlation"].tolist() == pytest.approx([-1, -1])
    assert "the coefficients of initialization" in tell(tables) and "-1.00 to -1.00" in tell(tables)
    assert set(draw(tables)) == {"coefficients", "errors"}


def test_noise_invents_no_effect() -> None:
    significant, held_out = [], []
    for seed in range(1, 5):
        rows, errors = fit(trainings(300, {}, seed))  # type: ignore[misc]
        factors = rows[rows["term"] != "constant"]
        significant.append((factors["p_value"] <= 0.05).mean())
        held_out.append(errors["error_held_out"] / errors["error_constant"])
    assert np.mean(significant) < 0.15  # 5 % are expected
    assert min(held_out) > 0.98


def test_fewer_trainings_than_coefficients_give_nothing(frame: pd.DataFrame) -> None:
    assert fit(frame.head(24)) is None and fit(frame.head(25)) is not None


def test_correlations_by_hand() -> None:
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 20))
    terms = {"term": ["constant"] + ["activation"] * 19, "value": [str(i) for i in range(20)]}
    table = pd.concat([pd.DataFrame(terms | {"coefficient": v, "dataset": n}) for n, v in (("mnist", a), ("svhn", b))])
    assert correlations(table)["correlation"].tolist() == pytest.approx([np.corrcoef(a[1:], b[1:])[0, 1]] * 2)
