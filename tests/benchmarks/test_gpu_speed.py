"""The card's benchmark runs as it is, small and on the CPU, and refuses to measure without a card."""

from __future__ import annotations

import json
import runpy
import sys
import time
from dataclasses import replace

import pytest
import torch

from benchmarks.speed import gpu
from benchmarks.speed.eager import random_bank
from builders.plan.cost import training_flop
from builders.plan.shape import Shape
from builders.plan.trainings import plan_trainings
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from tests.builders.compute.cards.blocks.grouped import use_grouped


@pytest.fixture
def settings_restored():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize("population", ["fixed", "random"])
def test_a_fleet_in_flight_has_one_shape_and_mixes_the_rest(population):
    for scale in (gpu.FULL, gpu.DRY):
        for queue in gpu.queues(population, scale):
            (shape,) = {Shape.of(planned.hyperparameters) for planned in queue}
            assert len(queue) == (scale.slots or shape.card_slots)
            assert scale is gpu.DRY or len({planned.hyperparameters.augmentation for planned in queue}) == 2
            assert shape.architecture.is_fixed == (population == "fixed")
    assert len(gpu.queues(population, gpu.FULL)) == (2 if population == "fixed" else 8)


def test_few_fleets_stand_for_the_population():
    def mean_flop(trainings) -> float:
        flops = [training_flop(Architecture.of(planned.hyperparameters)) for planned in trainings]
        return sum(flops) / len(flops)

    population = mean_flop(plan_trainings("random", 4_000, 1, ["random"]))
    assert mean_flop([queue[0] for queue in gpu.queues("random", gpu.FULL)]) == pytest.approx(population, rel=0.08)
    scored = (2 * (gpu.FULL.n_train // 10) + gpu.FULL.n_test) / gpu.FULL.epoch_images
    assert scored == pytest.approx(1.81e10 / 2.86e10, rel=0.01)  # tests/builders/estimate/test_image_counts.py


def test_eager_and_fleets_do_their_rounds(tmp_path, settings_restored, monkeypatch):
    use_grouped(monkeypatch)
    scale = replace(gpu.DRY, eager_images=64, lanes=1)
    random_bank(tmp_path, {gpu.SET: (scale.n_train, scale.n_test)})
    gpu.eager_work(tmp_path, "fixed", scale, "cpu")()
    work = gpu.fleet_work(tmp_path, "fixed", scale, "cpu", "grouped", "float32")
    work()
    work()


def here(contenders, rounds):
    """As ``alternate``, but in this process, which has the backend ``grouped``."""
    work = {name: setup() for name, setup in contenders.items()}
    times = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            started_s = time.perf_counter()
            one()
            times[name].append(time.perf_counter() - started_s)
    return times


@pytest.mark.slow
def test_the_whole_script(capsys, settings_restored, monkeypatch):
    use_grouped(monkeypatch)
    monkeypatch.setattr(gpu, "CARD_BACKENDS", ("grouped",))
    monkeypatch.setattr(gpu, "alternate", here)
    gpu.main(["--dry", "--rounds", "1", "--backend", "grouped", "--precision", "float32", "--population", "fixed", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["population"], row["contender"]) for row in rows] == [("fixed", "eager"), ("fixed", "grouped float32")]
    for row in rows:
        assert row["images_per_s"] > 0 and row["hours"] == pytest.approx(2.9e10 / row["images_per_s"] / 3600)


def test_without_a_card_it_measures_nothing(monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(BuildError, match=r"--device cuda: .*nvidia-smi"):
            gpu.main(["--rounds", "1"])
        monkeypatch.setattr(sys, "argv", ["gpu"])
        monkeypatch.delitem(sys.modules, "benchmarks.speed.gpu")
        with pytest.raises(SystemExit, match=r"^benchmarks\.speed\.gpu: --device cuda: [^\n]*$"):
            runpy.run_module("benchmarks.speed.gpu", run_name="__main__")
