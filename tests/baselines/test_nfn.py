"""The equivariant baseline: it learns, and the order of hidden units is nothing to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.method import MethodError
from baselines.nfn import NFN
from baselines.registry import make_method
from nws_data.read.views import PermutedVectors
from nws_data.tasks.task import Task, load_task


@pytest.fixture(scope="module")
def task(planted_root: Path) -> Task:
    return load_task("global/augmentation/threshold=0", planted_root)


@pytest.fixture(scope="module")
def fitted(task: Task) -> NFN:
    method = make_method("nfn", 1, epochs="6", channels="2", hidden="16")
    method.fit(task)
    return method


@pytest.mark.slow
def test_it_learns_a_planted_signal(task: Task, fitted: NFN) -> None:
    scores = fitted.predict(task.test)
    assert scores.shape == (len(task.test), 2) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert task.evaluate(scores).accuracy > 0.9
    assert fitted.n_parameters is not None and fitted.n_parameters > 1000


@pytest.mark.slow
def test_permuted_networks_get_the_same_predictions(task: Task, fitted: NFN) -> None:
    plain, moved = task.test, PermutedVectors(task.test.data, target=task.target, seed=9)
    assert not np.array_equal(plain[:][0].numpy(), moved[:][0].numpy())
    np.testing.assert_allclose(fitted.predict(moved), fitted.predict(plain), atol=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(task: Task, fitted: NFN) -> None:
    again = NFN(1, epochs=6, channels=2, hidden=16)
    again.fit(task)
    np.testing.assert_array_equal(again.predict(task.test), fitted.predict(task.test))


def test_before_fitting_it_is_refused(task: Task) -> None:
    with pytest.raises(MethodError, match="NFN predicts after fit"):
        NFN().predict(task.test)
