"""Metrics against torchmetrics, scipy, numbers worked by hand and simulated coverage."""

import numpy as np
import pytest
import scipy.stats
import torch
import torchmetrics.functional as tm

from nws_data.tasks.metrics import (
    Sums,
    clustered_accuracy,
    clustered_regression,
    kendall_tau,
    paired_difference,
)


def test_independent_items_give_the_wilson_interval():
    n, right = np.ones(200, int), (np.arange(200) < 150).astype(int)
    accuracy, low, high = clustered_accuracy(n, right)
    expected = scipy.stats.binomtest(150, 199).proportion_ci(method="wilson")  # one less: the variance's G/(G-1)
    assert accuracy == 0.75
    assert abs(low - expected.low) < 0.005 and abs(high - expected.high) < 0.005


def test_windows_of_one_training_that_agree_count_once():
    n, right = np.full(40, 10), np.where(np.arange(40) < 30, 10, 0)
    single = clustered_accuracy(np.ones(40, int), right // 10)
    assert clustered_accuracy(n, right) == pytest.approx(single)
    independent = clustered_accuracy(np.ones(400, int), np.repeat(right // 10, 10))
    assert independent.high - independent.low < 0.4 * (single.high - single.low)


@pytest.mark.parametrize("right", [0, 7])
def test_all_right_or_wrong_still_has_a_width(right):
    accuracy, low, high = clustered_accuracy(np.full(12, 7), np.full(12, right))
    assert accuracy == right / 7 and 0 <= low <= accuracy <= high <= 1
    assert 0.2 < high - low < 0.3  # Wilson of 12 trials


def test_one_training_alone():
    assert clustered_accuracy(np.array([10]), np.array([5])) == pytest.approx((0.5, 0.0546, 0.9454), abs=1e-3)


def test_the_interval_covers_what_it_says():
    """40 trainings of 10 windows whose accuracies differ from training to training: 95 % within what 2,000 show."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        right = rng.binomial(10, rng.beta(2, 1, 40))
        _, low, high = clustered_accuracy(np.full(40, 10), right)
        hits += low <= 2 / 3 <= high
    assert 0.93 < hits / 2000 < 0.97


def test_paired_differences_by_hand():
    n, a, b = np.array([1, 1, 2]), np.array([1, 0, 2]), np.array([0, 0, 1])
    difference, low, high = paired_difference(n, a, b)
    assert difference == 0.5  # gains 1, 0, 1 of 4 items
    half = 1.959964 * np.sqrt(3 / 2 * ((1 - 0.5) ** 2 + 0.5**2 + 0) / 16)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))
    assert paired_difference(n, a, a) == (0, 0, 0)


def test_paired_differences_cover():
    rng = np.random.default_rng(1)
    expected = np.mean(np.clip(scipy.stats.beta(2, 2).ppf((np.arange(4000) + 0.5) / 4000) + 0.1, 0, 1)) - 0.5
    hits = 0
    for _ in range(2000):
        shared = rng.beta(2, 2, 60)
        a, b = rng.binomial(10, np.clip(shared + 0.1, 0, 1)), rng.binomial(10, shared)
        _, low, high = paired_difference(np.full(60, 10), a, b)
        hits += low <= expected <= high
    assert 0.925 < hits / 2000 < 0.97


def sums_of(truth: np.ndarray, predicted: np.ndarray, of: np.ndarray) -> Sums:
    error = predicted - truth
    return Sums(np.bincount(of), *(np.bincount(of, weights=v) for v in (truth, truth**2, error**2, np.abs(error))))


def test_regression_against_torchmetrics():
    rng = np.random.default_rng(2)
    truth = rng.uniform(2e-4, 5e-3, 500)
    predicted = truth + rng.normal(0, 1e-3, 500)
    r2, mae = clustered_regression(sums_of(truth, predicted, np.arange(500) // 5))
    a, b = torch.from_numpy(predicted), torch.from_numpy(truth)
    assert r2.estimate == pytest.approx(float(tm.r2_score(a, b)), abs=1e-9)
    assert mae.estimate == pytest.approx(float(tm.mean_absolute_error(a, b)), rel=1e-9)
    assert r2.low < r2.estimate < r2.high and mae.low < mae.estimate < mae.high


def test_the_bootstrap_is_that_of_numpy():
    """Its standard error agrees with a plain bootstrap's, and it is the same every time."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=300)
    sums = sums_of(truth, truth + rng.normal(size=300), np.arange(300) // 3)
    _, mae = clustered_regression(sums)
    plain = [np.mean(sums.absolute[i]) / 3 for i in (rng.integers(0, 100, 100) for _ in range(4000))]
    low, high = np.percentile(plain, [2.5, 97.5])
    assert (mae.low, mae.high) == pytest.approx((low, high), abs=0.02)
    assert clustered_regression(sums)[1] == mae


def test_equal_targets_have_no_r2():
    """Two values among twelve trainings: some resamples hold one of them alone, up to rounding."""
    truth = np.array([0.9] * 10 + [0.2] * 2)
    r2, _ = clustered_regression(sums_of(truth, np.full(12, 0.85), np.arange(12)))
    assert -100 < r2.low <= r2.estimate <= r2.high <= 1
    assert clustered_regression(sums_of(np.ones(6), np.zeros(6), np.arange(6)))[0].estimate == 0


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("n", [2, 3, 40, 777])
def test_kendall_against_its_definition_and_torchmetrics(n, levels):
    rng = np.random.default_rng(n * levels)
    a = rng.integers(0, levels, n).astype(float)
    b = np.where(rng.uniform(size=n) < 0.5, a, rng.integers(0, levels, n)) * -0.1
    signs_a, signs_b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)  # tau-b: 0 for ties
    scale = np.sqrt((signs_a**2).sum() * (signs_b**2).sum())
    if not scale:
        assert kendall_tau(a, b) == 0
        return
    assert kendall_tau(a, b) == pytest.approx((signs_a * signs_b).sum() / scale, abs=1e-12)
    assert kendall_tau(a, b) == pytest.approx(float(tm.kendall_rank_corrcoef(torch.tensor(a), torch.tensor(b))), abs=1e-5)


def test_kendall_of_constants_and_many():
    assert kendall_tau(np.ones(5), np.arange(5.0)) == 0
    assert kendall_tau(np.ones(1), np.ones(1)) == 0
    x = np.random.default_rng(0).normal(size=200_000)
    assert (kendall_tau(x, x), kendall_tau(x, -x)) == pytest.approx((1, -1), abs=1e-12)
