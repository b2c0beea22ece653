"""The model of a worker's speed against times that are known, and the calibration against a real trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from builders.compute.compute_path import default_cpu_backend
from builders.estimate.calibration import calibrate, sample_by_cost
from builders.estimate.speed import REFERENCE, SCORE_TERMS, STEP_TERMS, Sample, coefficients, fit_speed, reference_speed
from builders.plan.trainings import plan_trainings
from nws_data.errors import BuildError

PLAN = list(plan_trainings("random", 400, 3, ["digits"]))


def made_up(factor: float, noise: float, n: int = 24) -> list[Sample]:
    """Samples of a machine whose times are those of the reference, times a factor and some noise."""
    rng, speed = np.random.default_rng(0), reference_speed("float32")
    rows = sample_by_cost(PLAN, lambda planned: speed.seconds(planned, 1.0, 0.5), n)
    times = factor * np.exp(noise * rng.standard_normal((n, 2)))
    return [
        Sample(planned, speed.seconds(planned, 1.0, 0.0) * a, speed.seconds(planned, 0.0, 1.0) * b, 1.0)
        for planned, (a, b) in zip(rows, times, strict=True)
    ]


def test_every_term_has_a_coefficient():
    for step, score in REFERENCE.values():
        assert (len(step), len(score)) == (len(STEP_TERMS), len(SCORE_TERMS))


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_a_machine_of_another_speed(factor):
    speed = fit_speed(made_up(factor, 0.0), "float32", 1.0)
    for planned in PLAN[:50]:
        expected = factor * reference_speed("float32").seconds(planned, 1e4, 2e4)
        assert speed.seconds(planned, 1e4, 2e4) == pytest.approx(expected, rel=1e-6)
    assert speed.scatter < 1e-6


def test_noise_averages_out_in_the_sum():
    speed = fit_speed(made_up(2.0, 0.2), "float32", 1.0)
    truth = sum(2 * reference_speed("float32").seconds(planned, 1e4, 2e4) for planned in PLAN)
    found = sum(speed.seconds(planned, 1e4, 2e4) for planned in PLAN)
    assert abs(found / truth - 1) < 2 * speed.error
    assert 0.08 < speed.scatter < 0.3


def test_many_samples_give_their_coefficients_without_a_reference():
    step, score = coefficients(made_up(1.0, 0.0, 200))
    assert step == pytest.approx(1e-6 * np.array(REFERENCE["float32"][0]), rel=1e-3, abs=1e-9)
    assert score == pytest.approx(1e-6 * np.array(REFERENCE["float32"][1]), rel=1e-3, abs=1e-9)


def test_the_sample_follows_the_cost():
    cost = {planned.id: float(i + 1) for i, planned in enumerate(PLAN)}
    chosen = sample_by_cost(PLAN, lambda planned: cost[planned.id], 100)
    assert chosen == sample_by_cost(PLAN[::-1], lambda planned: cost[planned.id], 100)
    # Each half of the summed cost gives half of the sample, and of its first tenth about half.
    ordered = sorted(cost.values())
    half = ordered[int(np.searchsorted(np.cumsum(ordered), sum(ordered) / 2))]
    assert sum(cost[planned.id] <= half for planned in chosen) == pytest.approx(50, abs=1)
    assert 2 <= sum(cost[planned.id] <= half for planned in chosen[:10]) <= 8


@pytest.mark.slow
def test_a_calibration_of_the_real_trainer():
    speed = calibrate(
        PLAN[:20],
        lambda planned: reference_speed("float32").seconds(planned, 1.0, 0.5),
        precision="float32",
        backend=default_cpu_backend(),
        n_workers=1,
        seconds=8.0,
    )
    assert speed.n_samples >= 1 and speed.start_s > 0
    assert all(value > 0 for value in (*speed.step, *speed.score))


def test_a_calibration_without_time():
    with pytest.raises(BuildError, match=r"--calibrate 0.01: no shape could be measured"):
        calibrate(PLAN[:2], lambda planned: 1.0, precision="float32", backend="portable", n_workers=1, seconds=0.01)


def test_ctrl_c_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "builders", "plan", "--population", "fixed", "--trainings", "4", "--images", "digits"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "nws"), "--calibrate", "60"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("nws-plan-*/bank.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr and "Traceback" not in stderr
    assert not list(tmp_path.iterdir())
