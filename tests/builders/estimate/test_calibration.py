"""The speed of a machine: which shapes are measured, and the measurement of the real trainer."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from builders.estimate import calibration
from builders.estimate.calibration import AUGMENTED_FLOP, IMAGE_FLOP, Speed, Work, calibrate, sample_by_cost, work_of
from builders.estimate.image_counts import ImageCounts
from builders.plan.shape import forward_flop
from builders.plan.trainings import plan_trainings
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from tests.builders.conftest import planned
from tests.processes import nws

PLAN = list(plan_trainings("random", 400, 3, ["digits"]))
FIXED = list(plan_trainings("fixed", 20, 3, ["digits"]))
OPTIONS = {"precision": "float32", "backend": "native", "n_workers": 1}


def works(trainings) -> dict:
    return {planned: work_of(planned, 1e4, 5e3) for planned in trainings}


def test_work_by_hand():
    for training, beside in ((planned(0), IMAGE_FLOP), (planned(0, augmentation=True), IMAGE_FLOP + AUGMENTED_FLOP)):
        flop = forward_flop(Architecture.of(training.hyperparameters)) * (3 * 700 + 200)
        assert work_of(training, 700, 200) == Work(1, 700, 200, flop, flop + 700 * beside)
    assert Work(1, 2, 3, 4, 5) + Work(1, 1, 1, 1, 1) == Work(2, 3, 4, 5, 6)


def test_the_sample_follows_the_cost():
    cost = {planned: Work(cost=float(i + 1)) for i, planned in enumerate(PLAN)}
    chosen = sample_by_cost(cost, 10_000)
    assert chosen[:50] == sample_by_cost(cost, 10_000)[:50]
    # Each half of the summed cost gives half of the sample, within four standard deviations.
    ordered = sorted(work.cost for work in cost.values())
    half = ordered[int(np.searchsorted(np.cumsum(ordered), sum(ordered) / 2))]
    assert sum(cost[planned].cost <= half for planned in chosen) == pytest.approx(5_000, abs=200)


def test_the_error_falls_with_the_number_of_shapes_but_not_below_five_percent():
    few, many = (Speed(1e-11, n, 0.2) for n in (4, 4_000_000))
    assert few.error == pytest.approx((0.05**2 + 0.1**2) ** 0.5) and many.error == pytest.approx(0.05, rel=1e-3)


@pytest.mark.slow
def test_a_calibration_of_the_real_trainer():
    speed = calibrate(works(FIXED) | works(PLAN[:20]), seconds=1.0, **OPTIONS)
    assert speed.n_shapes >= 1
    assert 1e-13 < speed.seconds_per_cost < 1e-8  # 0.1 GFLOP/s to 10 TFLOP/s


@pytest.mark.slow
def test_a_calibration_without_time():
    with pytest.raises(BuildError, match=r"--calibrate 0.01: no shape could be measured"):
        calibrate(works(PLAN[:2]), seconds=0.01, **OPTIONS)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(tmp_path):
    options = ["--population", "fixed", "--trainings", "4", "--images", "digits", "--calibrate", "60"]
    process = nws("plan", *options, "--out", str(tmp_path / "nws"), environment=os.environ | {"TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("nws-plan-*/bank.json")):
        assert not process.ended() and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert "interrupted" in process.printed() and "Traceback" not in process.printed()
    assert not list(tmp_path.iterdir())


def test_a_card_scores_as_many_images_as_its_work_counts() -> None:
    n_train, n_test = calibration._N_TRAIN, calibration._N_TEST
    counts = ImageCounts("random", n_train, n_test, n_train // 10)
    assert counts.n_scored / counts.epoch_images(64) == pytest.approx(calibration._SCORED, abs=0.005)
