"""The paper's claims: planted effects hold or fail, noise leaves them open, and what is missing is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.findings.claim_checks import FAILS, HOLDS, OPEN, Evidence, Finding
from benchmarks.findings.claims import CLAIMS, check_claims, merged_claims, write_claims
from benchmarks.findings.source import Source
from nws_data.space.hyperparameters import sample_many
from tests.conftest import TinyDataset

OF_TRAININGS = {
    "Glorot initialization is far better than constant and normal": "glorot",
    "ELU is slightly better than ReLU": "elu",
    "ReLU and ELU are better than sigmoid and tanh": "rectified",
    "Augmentation helps under Glorot initialization": "augmented glorot",
    "Augmentation harms under other initialisations": "plain other",
    "Under other initialisations Adam and RMSprop are better than momentum": "adaptive other",
    "Wider convolutional layers are better (48 against 16)": "wide",
    "Fewer fully connected layers are better (3 against 5)": "shallow",
}


def check(text: str, tables: dict[str, Any], trainings: pd.DataFrame | None = None) -> Finding:
    evidence = Evidence(SimpleNamespace(population="random"), tables)
    if trainings is not None:
        evidence.trainings = trainings
    return next(claim for claim in CLAIMS if claim.text == text).check(evidence)


def trainings(name: str = "", size: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """1,500 drawn trainings with noise of 0.1, and one effect of :data:`OF_TRAININGS`."""
    frame = pd.DataFrame([drawn.to_dict() for drawn in sample_many(range(1500 * seed, 1500 * (seed + 1)), "random")])
    glorot, act = frame["initialization"].str.match("glorot"), frame["activation"]
    effects = {
        "glorot": glorot,
        "elu": act == "elu",
        "rectified": act.isin(["elu", "relu"]),
        "augmented glorot": glorot & frame["augmentation"],
        "plain other": ~glorot & ~frame["augmentation"],
        "adaptive other": ~glorot & (frame["optimizer"] != "momentum"),
        "wide": frame["width_conv"] == 48,
        "shallow": frame["depth_fc"] == 3,
    }
    accuracy = np.random.default_rng(seed).normal(0, 0.1, len(frame)) + size * effects.get(name, 0)
    return frame.assign(accuracy=accuracy, glorot=glorot, population="random", passed=True)


@pytest.mark.parametrize("text", OF_TRAININGS)
def test_effects_on_accuracy(text: str) -> None:
    assert check(text, {}, trainings(OF_TRAININGS[text], 0.04)).verdict == HOLDS
    assert check(text, {}, trainings(OF_TRAININGS[text], -0.04)).verdict == FAILS


@pytest.mark.slow
def test_noise_says_nothing() -> None:
    frames = [trainings(seed=seed) for seed in range(10)]
    verdicts = [check(text, {}, frame).verdict for text in OF_TRAININGS for frame in frames]
    assert verdicts.count(OPEN) >= 0.85 * len(verdicts)  # 95 % intervals


def test_a_difference_is_that_of_the_means() -> None:
    frame = trainings("elu", 0.04)
    text = "ELU is slightly better than ReLU"
    means = frame.groupby("activation")["accuracy"].mean()
    assert check(text, {}, frame).found.startswith(f"{100 * (means['elu'] - means['relu']):+.1f} [")
    assert check(text, {}, frame.head(10)).verdict == OPEN


def test_about_the_same() -> None:
    text, frame = "Under Glorot initialization momentum is on par with Adam and RMSprop", trainings()
    assert check(text, {}, frame).verdict == HOLDS
    slow = frame["accuracy"] - 0.2 * (frame["glorot"] & (frame["optimizer"] == "momentum"))
    assert check(text, {}, frame.assign(accuracy=slow)).verdict == FAILS
    assert check(text, {}, frame.assign(accuracy=5 * frame["accuracy"]).head(200)).verdict == OPEN


def test_the_worst_pair() -> None:
    text, frame = "Constant initialization with sigmoid is the worst pair", trainings()

    def worse(initialization: str, activation: str) -> pd.DataFrame:
        own = (frame["initialization"] == initialization) & (frame["activation"] == activation)
        return frame.assign(accuracy=frame["accuracy"] - 0.3 * own)

    assert check(text, {}, worse("constant", "sigmoid")).verdict == HOLDS
    assert check(text, {}, worse("random_normal", "tanh")).verdict == FAILS
    assert check(text, {}, frame).verdict == OPEN


def bars(accuracies: dict[str, float], family: str, method: str = "svm-rbf-480") -> dict[str, Any]:
    rows = [
        {"family": family, "target": target, "method": method, "accuracy": a, "low": a - 0.05, "high": a + 0.05}
        | {"trainings": 80, "chance": 0.25}
        for target, a in accuracies.items()
    ]
    columns = ["family", "target", "comparison", "a", "b", "difference", "low", "high", "trainings"]
    return {"bars": {"accuracies": pd.DataFrame(rows), "differences": pd.DataFrame(columns=columns)}}


@pytest.mark.parametrize(
    ("text", "tables", "verdict"),
    [
        ("Initialization is told best from whole vectors", bars({"initialization": 0.9, "optimizer": 0.7}, "global"), HOLDS),
        ("Initialization is told best from whole vectors", bars({"initialization": 0.7, "optimizer": 0.9}, "global"), FAILS),
        ("Initialization is told best from whole vectors", bars({"initialization": 0.9, "optimizer": 0.88}, "global"), OPEN),
        ("Batch size is the hardest to tell", bars({"batch_size": 0.3, "optimizer": 0.7}, "global"), HOLDS),
        ("Batch size is the hardest to tell", bars({"batch_size": 0.8, "optimizer": 0.5}, "global"), FAILS),
        ("The filter size can be told from fully connected weights", bars({"filter_size": 0.4}, "local-fc"), HOLDS),
        ("The filter size can be told from fully connected weights", bars({"filter_size": 0.27}, "local-fc"), OPEN),
        ("Of windows, SVMs tell the initialization best", bars({"initialization": 0.9, "optimizer": 0.5}, "local"), HOLDS),
        ("Logistic regression on statistics is not better than chance", bars({"dataset": 0.26}, "local", "logistic"), HOLDS),
        ("Logistic regression on statistics is not better than chance", bars({"dataset": 0.6}, "local", "logistic"), FAILS),
    ],
)  # fmt: skip
def test_accuracies(text: str, tables: dict[str, Any], verdict: str) -> None:
    assert check(text, tables).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "far", "near"),
    [(0.2, 0.4, HOLDS, FAILS), (-0.04, 0.06, OPEN, HOLDS), (-0.4, -0.2, FAILS, FAILS), (-0.2, 0.2, OPEN, OPEN)],
)
def test_differences(low: float, high: float, far: str, near: str) -> None:
    rows = [
        {"family": family, "target": "dataset", "comparison": what, "a": "dmc", "b": "svm", "difference": (low + high) / 2}
        | {"low": low, "high": high, "trainings": 50}
        for family, what in (("global", "deep less linear"), ("local", "deep less linear"), ("local", "conv less fc"))
    ]
    worse = [row | {"a": "dmc-worse"} | {key: row[key] - 0.5 for key in ("difference", "low", "high")} for row in rows[:2]]
    tables = {"bars": {"differences": pd.DataFrame([*worse, *rows])}}  # of deep methods the better one counts
    assert check("On windows the deep meta-classifier is far better than a linear SVM", tables).verdict == far
    text = "The dataset is told better from convolutional than from fully connected weights"
    assert check(text, tables).verdict == far
    assert check("A linear SVM on layer-wise statistics comes near the deep meta-classifier", tables).verdict == near


def importance(target: str, norms: dict[str, float], trainings: int = 60) -> dict[str, Any]:
    """Groups and features whose relative norms are given, all others 1, and those under permuted labels 1 as well."""
    rows = [
        {"scope": "layers", "target": target, "level": "kind", "group": name, "tensor": name.partition(" ")[0]}
        | {"statistic": name.partition(" ")[2], "relative": norms.get(name, 1.0), "relative_sd": 0.1}
        | {"permuted": 1.0, "permuted_sd": 0.1}
        for name in ("conv bias", "fc mean", "conv1.kernel gradient_p99", "fc1.bias mean")
    ]
    fits = {"scope": "layers", "target": target, "trainings_half": trainings, "accuracy": 0.8, "left_out": "constant 2"}
    fits |= {"accuracy_low": 0.7, "accuracy_high": 0.9}
    table = pd.DataFrame(rows)
    return {"importance": {"groups": table, "features": table, "fits": pd.DataFrame([fits])}}


@pytest.mark.parametrize(
    ("target", "words", "name"),
    [
        ("optimizer", "The optimizer is told by the biases", "conv bias"),
        ("activation", "The activation is told by the running means", "fc mean"),
        ("dataset", "The dataset is told by the 1 and 99", "conv1.kernel gradient_p99"),
    ],
)
def test_what_tells(target: str, words: str, name: str) -> None:
    text = next(claim.text for claim in CLAIMS if claim.text.startswith(words))
    assert check(text, importance(target, {name: 3.0, "fc1.bias mean": 2.0})).verdict == HOLDS
    assert check(text, importance(target, {name: 2.0, "fc1.bias mean": 3.0})).verdict == OPEN
    assert check(text, importance(target, {"fc1.bias mean": 3.0})).verdict == FAILS
    assert check(text, importance(target, {})).verdict == OPEN


def test_no_single_feature() -> None:
    text = "No single layer-wise feature tells the initialization"
    assert check(text, importance("initialization", {})).verdict == HOLDS
    assert check(text, importance("initialization", {}, trainings=20)).verdict == OPEN
    assert check(text, importance("initialization", {"conv bias": 3.0})).verdict == FAILS


def test_slopes_and_falls() -> None:
    slopes = pd.DataFrame(
        {"family": "local", "method": "dmc", "target": ["activation", "dataset"], "slope": [0.05, 0.01]}
        | {"low": [0.04, 0.005], "high": [0.06, 0.015], "r_squared": 0.9, "trainings": 60}
    )
    tables = {"subset-size": {"slopes": slopes}}
    assert check("Accuracy grows with the logarithm of the window length", tables).verdict == HOLDS
    assert check("It grows more steeply for activation than for dataset", tables).verdict == HOLDS
    tables = {"subset-size": {"slopes": slopes.assign(target=["dataset", "activation"])}}
    assert check("It grows more steeply for activation than for dataset", tables).verdict == FAILS
    falls = pd.DataFrame(
        {"target": "initialization", "part": "all", "until": "mean", "region": ["first", "last", "middle"]}
        | {"beyond_middle": [0.2, 0.1, 0], "beyond_middle_low": [0.1, 0.05, 0], "beyond_middle_high": [0.3, 0.15, 0]}
    )
    text = "First and last layers leave their initialization fastest"
    tasks = pd.DataFrame({"test_trainings": [20, 36]})
    assert check(text, {"map": {"falls": falls, "tasks": tasks}}).verdict == HOLDS
    found = check(text, {"map": {"falls": falls.assign(beyond_middle_low=-0.1), "tasks": tasks}})
    assert (found.verdict, found.evidence) == (OPEN, "20 to 36 test trainings")  # an empty one is of missing data


def test_the_next_best_targets() -> None:
    text = "Activation and optimizer come after it in windows"
    told = {"initialization": 0.95, "filter_size": 0.9, "activation": 0.7, "optimizer": 0.6, "dataset": 0.4}
    assert check(text, bars(told, "local")).verdict == HOLDS
    assert check(text, bars(told | {"dataset": 0.58}, "local")).verdict == OPEN
    assert check(text, bars(told | {"dataset": 0.8}, "local")).verdict == FAILS  # above the optimizer is enough


def test_statistics_of_all_weights() -> None:
    text = "The initialization is told better by statistics of all weights together"

    def both(of_all: float, layers: float) -> str:
        rows = [bars({"initialization": a}, "global", f"svm-linear-{n}") for a, n in ((of_all, 16), (layers, 480))]
        return check(text, {"bars": {"accuracies": pd.concat([r["bars"]["accuracies"] for r in rows])}}).verdict

    assert [both(0.9, 0.7), both(0.8, 0.75), both(0.7, 0.9)] == [HOLDS, OPEN, FAILS]


def regression(spans: dict[str, float], correlation: float) -> dict[str, Any]:
    """Two image sets: terms of two values that far apart, 30 more without effect, and a correlation."""
    terms = list(spans.items()) + [(f"other{i}", 0.0) for i in range(30)]
    rows = [
        {"dataset": name, "term": term, "coefficient": sign * span / 2}
        for name in "ab"
        for term, span in terms
        for sign in (-1, 1)
    ]
    pairs = pd.DataFrame({"dataset": ["a", "b"], "other": ["b", "a"], "correlation": correlation})
    errors = pd.DataFrame({"dataset": ["a", "b"], "trainings": 100})
    return {"regression": {"coefficients": pd.DataFrame(rows), "correlations": pairs, "errors": errors}}


def test_coefficients() -> None:
    text = "Initialization is the most influential on accuracy, then activation and optimizer"
    order = {"initialization": 3.0, "activation": 2.0, "optimizer": 1.5, "width_fc": 1.0}
    found = check(text, regression(order, 0.9))
    assert found.verdict == HOLDS and "initialization 3.00, activation 2.00" in found.found
    assert check(text, regression(order | {"width_fc": 1.8}, 0.9)).verdict == OPEN
    assert check(text, regression(order | {"initialization": 0.5}, 0.9)).verdict == FAILS
    text = "Coefficients are strongly correlated between image sets"
    verdicts = [check(text, regression(order, r)).verdict for r in (0.9, 0.55, 0.1)]
    assert verdicts == [HOLDS, OPEN, FAILS]
    found = check(text, regression(order, 0.9))
    assert f"[{np.tanh(np.arctanh(0.9) - 1.96 / np.sqrt(67 - 3)):.2f}, " in found.found
    assert found.evidence == "200 converged trainings on 2 image sets, population random"


def test_modes() -> None:
    two, peaks = "Accuracies have two modes, failures and successes", "Failures peak at 10 and at about 20 %"

    def verdicts(failure: list[float], failure_2: list[float], success: list[float]) -> list[str]:
        columns = {"dataset": ["a", "b"], "trainings": 500, "failure_peak": failure, "failure_peak_2": failure_2}
        tables = {"statistics": {"modes": pd.DataFrame(columns | {"success_peak": success})}}
        findings = [check(text, tables) for text in (two, peaks)]
        assert all(one.evidence == "1,000 trainings on 2 image sets, population random" for one in findings)
        return [one.verdict for one in findings]

    none = float("nan")
    assert verdicts([0.1, 0.11], [0.2, none], [0.9, 0.8]) == [HOLDS, HOLDS]
    assert verdicts([0.1, none], [none, none], [0.9, 0.8]) == [OPEN, OPEN]
    assert verdicts([0.3, 0.4], [none, 0.2], [none, none]) == [FAILS, FAILS]


@pytest.mark.parametrize(("low", "verdict"), [(-0.02, HOLDS), (-0.3, FAILS)])
def test_stripped_weights(low: float, verdict: str) -> None:
    text = "Norm values and biases are not what carries the information"
    cases = {"target": ["optimizer", "dataset"], "batch_norm": True, "stripped": False, "chance": 0.3, "trainings": 9}
    differences = {"target": ["optimizer", "dataset"], "what": "stripped, with batch norm", "estimate": [low + 0.01, 0]}
    differences |= {"low": [low, -0.9], "high": [low + 0.03, 0.9]}

    def found(accuracy_low: float) -> str:
        table = pd.DataFrame(cases | {"accuracy_low": [accuracy_low, 0.2]})
        return check(text, {"batch-norm": {"cases": table, "differences": pd.DataFrame(differences)}}).verdict

    assert found(0.5) == verdict and found(0.2) == OPEN  # of what is not told above chance nothing follows


def test_what_is_missing_is_open_and_all_claims_are_written(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    found = check_claims(Source(root=tiny_dataset.root, results=tmp_path), {})
    assert len(found) == len(CLAIMS) == len({claim.text for claim in CLAIMS})
    assert ("the figure bars is missing", OPEN) in {(finding.found, finding.verdict) for _, finding in found}
    write_claims(found, tmp_path / "claims.md")
    lines = (tmp_path / "claims.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {claim.text}" for claim in CLAIMS]
    assert all(line.count("|") == 6 for line in lines[2:])


def test_of_two_populations_the_finding_on_more_trainings_stays(tmp_path: Path) -> None:
    claim = next(claim for claim in CLAIMS if claim.text == "ELU is slightly better than ReLU")

    def table(found: str, frame: pd.DataFrame) -> str:
        finding = replace(check(claim.text, {}, frame), found=found)
        write_claims([(claim, finding)], tmp_path / "claims.md")
        return (tmp_path / "claims.md").read_text()

    frame = trainings()
    many, few = table("many", frame.assign(population="fixed")), table("few", frame[:900])
    assert "trainings, population random |" in few
    for before, now, left in ((many, few, many), (few, many, many), (table("all", frame), few, few)):
        assert merged_claims(before, now) == left  # the last: the same population was built anew, with fewer trainings
    both = table("both", pd.concat([frame[:300], frame[:300].assign(population="fixed")]))
    assert merged_claims(many, both) == both
    thousand, hundreds = (
        table(name, frame[:900]).replace("214 and 222 trainings, population random", f"{n} trainings, population {name}")
        for name, n in (("fixed", "1,000"), ("random", "600"))
    )
    assert merged_claims(thousand, hundreds) == thousand != hundreds
    pooled = table("pooled", pd.concat([frame, frame.assign(population="fixed")]))
    assert merged_claims(pooled, few) == few  # of trainings that are gone in part
