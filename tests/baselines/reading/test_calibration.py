"""Probabilities mean what they say: a planted temperature is found, and what tells nothing gives no confidence."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from baselines.reading.calibration import Distance, best_temperature, calibrate
from baselines.registry import make_method
from nws_data.tasks.task import load_task


@pytest.mark.parametrize("planted", [0.4, 1.0, 5.0])
def test_a_planted_temperature_is_found(planted: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((4000, 3)) * 1.5
    labels = np.array([rng.choice(3, p=shares) for shares in softmax(truth, axis=1)])
    scores = truth * planted  # too bold by that factor
    temperature, loss = best_temperature(scores, labels)
    assert temperature == pytest.approx(planted, rel=0.1)
    after = softmax(scores / temperature, axis=1)
    assert loss == pytest.approx(-np.log(after[np.arange(4000), labels]).mean())
    gaps = [abs(p.max(axis=1).mean() - (p.argmax(axis=1) == labels).mean()) for p in (after, softmax(scores, axis=1))]
    assert gaps[0] < 0.03
    if planted != 1:
        assert gaps[1] > 3 * gaps[0]


def test_the_distance_is_one_on_average_and_grows_outside() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((2000, 3)) @ np.array([[1, 0.9, 0], [0, 0.1, 0], [0, 0, 1e4]]) + (5, 0, 0)
    distance = Distance.of(table)
    assert distance(table).mean() == pytest.approx(1, abs=0.15)  # the ridge takes some off
    inside, against = np.array([[7, 1.8, 0.0]]), np.array([[7, -1.8, 0.0]])  # both within each range
    assert distance(inside)[0] < 3 and distance(against)[0] > 20
    assert distance(np.array([[5, 0, 1e9]]))[0] > 5
    constant = Distance.of(np.ones((20, 2)))
    assert constant(np.ones((1, 2)))[0] == 0 and constant(np.full((1, 2), 2.0))[0] > 100


@pytest.mark.slow
def test_what_weights_do_not_tell_gives_no_confidence(planted_root: Path) -> None:
    for target, low, high in (("augmentation", 0.95, 1.0), ("optimizer", 0.0, 0.6)):
        task = load_task(f"local/{target}@500", planted_root)
        method = make_method("boosting-16")
        method.fit(task)
        before = method.predict(task.test)
        found = calibrate(method, task)
        np.testing.assert_array_equal(method.predict(task.test), before)
        assert found.n_networks == sum(task.counts["train"].values())
        scores = np.log(np.maximum(before, 1e-6)).reshape(-1, 10, task.n_classes)
        confidence = np.array([found.probabilities(network).max() for network in scores])
        assert low <= confidence.mean() <= high
        assert (found.log_loss < 0.1) == (target == "augmentation")
