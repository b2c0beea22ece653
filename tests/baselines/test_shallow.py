"""Shallow methods find what was planted in the weights, and only that."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.svm import SVC

from baselines.method import MethodError
from baselines.registry import METHODS, make_method
from baselines.shallow import BINNED, LinearSvm, RbfSvm
from baselines.tabular import TabularMethod, sampled_items
from nws_data.errors import ArgumentError, NWSError, SelectionError
from nws_data.features.extract import statistics_features
from nws_data.read.views import FixedWindows
from nws_data.tasks.task import load_task

SIXTEEN = ("svm-linear-16", "svm-rbf-16", "boosting-16", "logistic-16")
LAYERS = ("svm-linear-480", "svm-rbf-480", "boosting-480", "logistic-480")
KERNELS = ("svm-linear-kernels", "svm-rbf-kernels")
NUMBERS = ("svm-linear-16", "svm-rbf-16", "boosting-16", "ridge-16", "ridge-480", "svm-linear-480", "boosting-480")


@pytest.fixture
def root(planted_root: Path) -> Path:
    return planted_root


def run(name: str, root: Path, task_name: str, **options: Any) -> Any:
    task = load_task(task_name, root)
    method = make_method(name, **options)
    method.fit(task)
    found = method.predict(task.test)
    assert found.dtype == np.float64
    assert found.shape == ((len(task.test),) if task.kind == "regression" else (len(task.test), task.n_classes))
    return task.evaluate(found)


def test_every_method_is_registered() -> None:
    assert {*SIXTEEN, *LAYERS, *KERNELS, *NUMBERS} <= set(METHODS)
    for name in (*LAYERS, *KERNELS, "ridge-480"):
        assert METHODS[name].inputs == ("vector",)
    assert METHODS["logistic-16"].kinds == ("classification",) and METHODS["ridge-16"].kinds == ("regression",)


@pytest.mark.parametrize("name", [*SIXTEEN, *LAYERS, *KERNELS])
def test_the_signal_of_whole_vectors_is_found(root: Path, name: str) -> None:
    assert run(name, root, "global/augmentation").accuracy >= 0.9


@pytest.mark.parametrize("name", SIXTEEN)
@pytest.mark.parametrize("task", ["local/augmentation@500", "vote/augmentation@500"])
def test_the_signal_of_windows_is_found(root: Path, name: str, task: str) -> None:
    assert run(name, root, task).accuracy >= 0.9


def test_kernels_alone_hide_what_stands_in_batch_norm(root: Path) -> None:
    assert run("svm-linear-480", root, "global/dataset").accuracy >= 0.9
    for name in KERNELS:
        score = run(name, root, "global/dataset")
        assert score.accuracy < 0.9 and score.accuracy_low <= 0.5


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_found(root: Path, name: str) -> None:
    assert run(name, root, "regress/learning_rate").r2 > 0.5


def test_numbers_of_windows_are_found(root: Path) -> None:
    assert run("svm-rbf-16", root, "regress-local/learning_rate@500").r2 > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", SIXTEEN)
def test_permuted_labels_give_chance(root: Path, name: str) -> None:
    scores = [run(name, root, f"local/augmentation@500/permuted={seed}") for seed in range(8)]
    accuracies = np.array([score.accuracy for score in scores])
    assert abs(accuracies.mean() - 0.5) <= 2 * max(accuracies.std() / len(scores) ** 0.5, 0.1)
    assert sum(score.accuracy_low <= score.chance <= score.accuracy_high for score in scores) >= 4


def test_the_same_seed_gives_the_same(root: Path) -> None:
    task = load_task("local/augmentation@500", root)
    scores = []
    for seed in (1, 1, 2):
        method = make_method("svm-rbf-16", seed, max_items=60)
        method.fit(task)
        scores.append(method.predict(task.test))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith(("dmc", "nfn", "trees"))])
def test_what_draws_nothing_predicts_the_same_with_every_seed(root: Path, name: str) -> None:
    kind = METHODS[name].kinds[-1]
    task = load_task("regress/learning_rate" if kind == "regression" else "global/augmentation", root)
    first, other = (make_method(name, seed) for seed in (0, 7))
    assert not first.draws(task)
    for method in (first, other):
        method.fit(task)
    np.testing.assert_array_equal(first.predict(task.test), other.predict(task.test))


def test_what_chooses_among_its_items_draws(root: Path) -> None:
    task = load_task("global/augmentation", root)
    assert make_method("svm-rbf-16", max_items=len(task.train) - 1).draws(task)
    assert not make_method("svm-rbf-16", max_items=len(task.train)).draws(task)
    assert make_method("dmc").draws(task)  # what says nothing of it draws
    assert inspect.signature(_BinMapper).parameters["subsample"].default == BINNED


def test_one_versus_rest_by_hand(root: Path) -> None:
    """Three classes: one machine each, its distance the score."""
    task = load_task("local/optimizer@500/threshold=0", root)
    method = make_method("svm-rbf-16")
    method.fit(task)
    found = method.predict(task.test)
    view = task.view("train", fixed=True)
    train, test = statistics_features(view), statistics_features(task.test)
    test = np.clip(test, train.min(0), train.max(0))
    mean, std = train.mean(0), train.std(0)
    for label in range(3):
        machine = SVC(gamma=1 / 16).fit((train - mean) / std, (view.labels == label).numpy())
        np.testing.assert_allclose(found[:, label], machine.decision_function((test - mean) / std), rtol=1e-6, atol=1e-6)


def test_a_diverged_network_does_not_spoil_a_prediction(root: Path) -> None:
    task = load_task("regress/learning_rate", root)
    method = make_method("ridge-16")
    method.fit(task)
    usual = method.predict(task.test)

    class Diverged(type(task.test)):  # type: ignore[misc]
        def _weights(self, items: np.ndarray, rows: np.ndarray) -> Any:
            return super()._weights(items, rows) * 1e4

    task.test.__class__ = Diverged
    method.cache = False
    far = method.predict(task.test)
    assert np.abs(far - usual).max() < 1
    assert not np.array_equal(far, usual)


def test_the_penalty_of_ridge_is_chosen_over_trainings(root: Path) -> None:
    task = load_task("regress/learning_rate", root)
    view = task.view("train")
    chosen, given = make_method("ridge-480"), make_method("ridge-480", alpha=2.5)
    chosen.fit(task)
    given.fit(task)
    for train, test in chosen._folds:
        assert not set(view.data["training"][train]) & set(view.data["training"][test])
    assert chosen.fitted.regressor_[-1].alpha_ in 10.0 ** np.arange(-2, 6)
    assert given.fitted.regressor_[-1].alpha == 2.5
    assert chosen.n_parameters == given.n_parameters == 481


def test_fitted_values_are_counted(root: Path) -> None:
    task = load_task("global/augmentation", root)
    for name, expected in {"svm-linear-16": 17, "svm-linear-480": 481, "svm-linear-kernels": 81, "svm-rbf-16": None}.items():
        method = make_method(name)
        assert method.n_parameters is None
        method.fit(task)
        assert method.n_parameters == expected
    three = make_method("logistic-16")
    three.fit(load_task("local/optimizer@500/threshold=0", root))
    assert three.n_parameters == 3 * 17


def test_items_are_chosen_by_name_not_by_place(root: Path) -> None:
    data = load_task("local/augmentation@500", root).train.data
    view, turned = FixedWindows(data, 500), FixedWindows(data.take(np.arange(len(data))[::-1]), 500)

    def names(view: FixedWindows, n: int, seed: int) -> set[tuple[str, int, int]]:
        items = sampled_items(view, n, seed)
        rows = view.rows[items]
        return set(zip(view.data["training"][rows], view.data["snapshot"][rows], items % 10, strict=True))

    assert len(names(view, 25, 0)) == 25
    assert names(view, 25, 0) == names(turned, 25, 0) < names(view, 60, 0)
    assert names(view, 25, 0) != names(view, 25, 1)
    np.testing.assert_array_equal(sampled_items(view, 10**6, 0), np.arange(len(view)))


class Probabilities:
    classes_ = np.array([0, 2])

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        return np.array([[0.3, 0.7]])


class Distances:
    classes_ = np.array([1, 3])

    def decision_function(self, table: np.ndarray) -> np.ndarray:
        return np.array([0.5])


def test_a_class_that_is_missing_in_training_scores_lowest() -> None:
    method = LinearSvm()
    for estimator, n_classes, expected in (
        (Probabilities(), 3, [[0.3, 0, 0.7]]),
        (Distances(), 4, [[-1.5, -0.5, -1.5, 0.5]]),
    ):
        method.fitted, method.n_classes = estimator, n_classes
        np.testing.assert_array_equal(method.predict_table(np.zeros((1, 2))), expected)


def relabelled(task: Any, labels: Any) -> Any:
    """The task with other training labels, as a function of its own ones."""
    original = task.view

    def view(side: str, fixed: bool | None = None) -> Any:
        found = original(side, fixed)
        return found.with_row_labels(labels(found.row_labels)) if side == "train" else found

    task.view = view
    return task


@pytest.mark.parametrize("name", SIXTEEN)
def test_missing_classes(root: Path, name: str) -> None:
    def task() -> Any:
        return load_task("local/optimizer@500/threshold=0", root)

    method = make_method(name)
    with pytest.raises(MethodError, match="all training items are of one class"):
        method.fit(relabelled(task(), lambda labels: labels * 0 + 1))
    two = relabelled(task(), lambda labels: labels % 2 * 2)
    method.fit(two)
    found = method.predict(two.test)
    assert found.shape == (len(two.test), 3) and np.isfinite(found).all() and 1 not in found.argmax(1)


def test_what_does_not_fit_is_refused(root: Path) -> None:
    windows, vectors = load_task("local/augmentation@500", root), load_task("global/augmentation", root)
    numbers = load_task("regress/learning_rate", root)
    with pytest.raises(SelectionError, match="layers are pieces of whole vectors"):
        make_method("svm-linear-480").fit(windows)
    with pytest.raises(MethodError, match="predicts classes, this task asks for numbers: use ridge-16"):
        make_method("logistic-16").fit(numbers)
    with pytest.raises(MethodError, match="predicts numbers, this task asks for classes: use logistic-16"):
        make_method("ridge-480").fit(vectors)
    with pytest.raises(MethodError, match="LinearSvm predicts after fit"):
        LinearSvm().predict(vectors.test)
    method = make_method("svm-linear-16")
    method.fit(windows)
    with pytest.raises(MethodError, match="fitted on items of 500 values, this view's have 92868"):
        method.predict(vectors.test)


def test_options_are_checked() -> None:
    with pytest.raises(MethodError, match=r"option of svm-rbf-16: got 'colour'; choose one of"):
        make_method("svm-rbf-16", colour=1)
    with pytest.raises(MethodError, match="option features of svm-rbf-16 is fixed at 'vector'"):
        make_method("svm-rbf-16", features="layers")
    with pytest.raises(MethodError, match="features: got 'all'; choose one of vector, layers, kernels"):
        LinearSvm(features="all")  # type: ignore[arg-type]
    for options in ({"penalty": 0.0}, {"gamma": -1.0}, {"max_items": 0}, {"penalty": True}):
        with pytest.raises(NWSError, match=f"option {next(iter(options))} must be"):
            RbfSvm(**options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"option max_items must be at least 1, got 2\.5: give a whole number"):
        RbfSvm(max_items=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_scores_of_the_gaussian_svm_are_those_of_scikit_learn(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 200)
    table, others = rng.normal(labels[:, None], 2, (200, 16)), rng.normal(0, 3, (150, 16))
    method = RbfSvm(penalty=3.0)
    method.fitted = method._estimator(regression=False).fit(table, labels)
    monkeypatch.setattr("baselines.shallow._KERNEL_VALUES", 7000)  # several blocks
    np.testing.assert_allclose(method._distances(others), TabularMethod._distances(method, others), rtol=0, atol=1e-10)
