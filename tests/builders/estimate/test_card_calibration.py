"""A card is measured by the trainer of a build; plain PyTorch stands in for the kernels, a CPU for the card."""

from __future__ import annotations

import pytest

from builders.compute.cards.card import open_card
from builders.estimate import calibration
from builders.estimate.calibration import IMAGE_FLOP, calibrate_card, rates
from builders.plan.shape import Shape, training_flop
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from tests.builders.compute.cards.plain_program import use_plain
from tests.builders.conftest import planned
from tests.builders.estimate.test_calibration import PLAN, works


@pytest.fixture(autouse=True)
def plain(monkeypatch, worker_path):
    use_plain(monkeypatch)


@pytest.mark.slow
def test_rates_are_those_of_the_trainer(bank):
    trainings = [planned(i) for i in range(2)]
    images_s, cost_s = rates(trainings, open_card("slots", bank, "float32", "cpu", most=2), 1.0)
    flop = training_flop(Architecture.of(trainings[0].hyperparameters))
    assert 1 < images_s < 1e5
    assert cost_s / images_s == pytest.approx(flop * 1.21 + IMAGE_FLOP * 7 / 6, rel=0.01)


def test_too_little_time_says_so(bank):
    with pytest.raises(BuildError, match=r"--calibrate 0: too few steps"):
        rates([planned(0)], open_card("slots", bank, "float32", "cpu", most=1), 0)


@pytest.mark.slow
def test_a_calibration(monkeypatch):
    monkeypatch.setattr(Shape, "card_slots", 1)
    monkeypatch.setattr(calibration, "_N_TRAIN", 2_000)
    monkeypatch.setattr(calibration, "_N_TEST", 720)
    few = {one: work for one, work in works(PLAN).items() if one.hyperparameters.batch_size == 32}
    speed = calibrate_card(dict(list(few.items())[:2]), precision="float32", backend="slots", device="cpu", seconds=2.0)
    assert 1e-13 < speed.seconds_per_cost < 1e-6 and 1 <= speed.n_shapes <= 2
