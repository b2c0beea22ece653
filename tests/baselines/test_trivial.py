"""Trivial baselines see no weights: they find ties between hyper-parameters, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.method import MethodError
from baselines.registry import METHODS, make_method
from baselines.trivial import HyperParametersOnly, LengthOnly, Majority
from nws_data.read.views import GlobalVectors
from nws_data.tasks.task import load_task

TRIVIAL = ("majority", "hyperparameters", "length")


@pytest.fixture
def root(planted_root: Path) -> Path:
    return planted_root


def fitted(name: str, task: Any) -> Any:
    method = make_method(name)
    method.fit(task)
    return method


@pytest.mark.parametrize("name", TRIVIAL)
@pytest.mark.parametrize("task_name", ["global/augmentation", "local/augmentation@500", "vote/augmentation@500"])
def test_scores(root: Path, name: str, task_name: str) -> None:
    task = load_task(task_name, root)
    scores = fitted(name, task).predict(task.test)
    assert scores.shape == (len(task.test), 2) and scores.dtype == np.float64
    assert task.evaluate(scores).accuracy_low <= 0.5
    # All windows of a vector look the same to a trivial baseline.
    of_rows = scores.reshape(len(task.test.data), -1, 2)
    np.testing.assert_array_equal(of_rows, np.broadcast_to(of_rows[:, :1], of_rows.shape))


@pytest.mark.parametrize("name", TRIVIAL)
@pytest.mark.parametrize("task_name", ["regress/learning_rate", "regress-local/test_accuracy@500"])
def test_numbers(root: Path, name: str, task_name: str) -> None:
    task = load_task(task_name, root)
    found = fitted(name, task).predict(task.test)
    assert found.shape == (len(task.test),) and np.isfinite(found).all()
    assert task.evaluate(found).r2 < 0.5
    if name == "majority":
        np.testing.assert_allclose(found, task.train.labels.numpy().astype(float).mean())


def test_the_majority_by_hand(root: Path) -> None:
    task = load_task("local/optimizer@500/threshold=0", root)
    labels = task.train.row_labels.clone()
    labels[:-3], labels[-3:] = 2, 0
    task.train.row_labels = labels
    method = fitted("majority", task)
    scores = method.predict(task.test)
    np.testing.assert_allclose(scores[0], [3 / len(labels), 0, 1 - 3 / len(labels)])
    assert (scores == scores[0]).all() and method.n_parameters == 3


def test_hyperparameters_that_tell_are_found(root: Path) -> None:
    """Labels of our own that follow from the activation."""
    task = load_task("local/augmentation@500", root)
    task.train.row_labels = task.train.row_labels.clone()
    for view in (task.train, task.test):
        view.row_labels[:] = 0
        view.row_labels[np.isin(view.data["activation"], ["relu", "tanh"])] = 1
    scores = fitted("hyperparameters", task).predict(task.test)
    assert (scores.argmax(1) == task.test.labels.numpy()).mean() > 0.75


def test_the_target_and_accuracies_are_not_seen(root: Path) -> None:
    task = load_task("local/optimizer@500/threshold=0", root)
    method = fitted("hyperparameters", task)
    scores = method.predict(task.test)
    data = task.test.data
    seen = {"dataset", "learning_rate", "batch_size", "augmentation", "activation", "initialization"}
    fixed = {"filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc", "batch_norm"}
    for name in set(data.columns) - seen - fixed - {"n_weights", "n_weights_conv"}:
        column = data._columns[name]
        data._columns[name] = np.roll(column, 7)
        np.testing.assert_array_equal(method.predict(task.test), scores)
        data._columns[name] = column
    assert method._table(task.test).shape == (len(task.test), len(seen) - 3 + 2 + 4 + 4 + len(fixed))


def test_the_length_is_all_that_is_seen(root: Path) -> None:
    task = load_task("global/augmentation", root)
    method = fitted("length", task)
    np.testing.assert_array_equal(method._table(task.test), np.full((len(task.test), 1), 92868.0))
    scores = method.predict(task.test)
    assert (scores == scores[0]).all()


@pytest.mark.parametrize("method", [Majority, HyperParametersOnly, LengthOnly])
def test_fit_comes_first(root: Path, method: Any) -> None:
    view = load_task("global/augmentation", root).test
    with pytest.raises(MethodError, match=f"{method.__name__} predicts after fit"):
        method().predict(view)


def test_trivial_baselines_read_no_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise RuntimeError("weights were read")

    monkeypatch.setattr(GlobalVectors, "_weights", forbidden)
    task = load_task("global/augmentation", root)
    for name in TRIVIAL:
        fitted(name, task).predict(task.test)


def test_registered() -> None:
    assert set(TRIVIAL) <= set(METHODS)
