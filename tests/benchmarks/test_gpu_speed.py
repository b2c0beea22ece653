"""The card's benchmark runs as it is, small and on the CPU, and refuses to measure without a card."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from benchmarks.speed import gpu
from benchmarks.speed.alternate import Timing
from benchmarks.speed.gpu_eager import eager_work, side_by_side
from benchmarks.speed.gpu_workload import DRY, FULL, WORKLOADS, one_of_each, queues, write_images
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


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_fleet_in_flight_has_one_shape_and_mixes_the_rest(workload):
    for scale in (FULL, DRY):
        for queue in queues(workload, scale):
            (shape,) = {Shape.of(planned.hyperparameters) for planned in queue}
            assert len(queue) == (scale.slots or shape.card_slots)
            assert len({planned.hyperparameters.augmentation for planned in queue}) == 2
            assert shape.architecture.is_fixed == (workload == "fixed")
    assert len(queues(workload, FULL)) == (2 if workload == "fixed" else 8)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_baseline_trains_the_same_mixture(workload):
    shapes = [Shape.of(planned.hyperparameters) for planned in one_of_each(workload, FULL)]
    fleets = [Shape.of(queue[0].hyperparameters) for queue in queues(workload, FULL)]
    assert shapes == fleets * (len(shapes) // len(fleets))
    assert len({planned.hyperparameters.augmentation for planned in one_of_each(workload, FULL)}) == 2


def test_mixed_stands_for_the_population():
    def mean_flop(trainings) -> float:
        flops = [training_flop(Architecture.of(planned.hyperparameters)) for planned in trainings]
        return sum(flops) / len(flops)

    population = mean_flop(plan_trainings("random", 4_000, 1, ["random"]))
    assert mean_flop(one_of_each("mixed", FULL)) == pytest.approx(population, rel=0.08)
    assert FULL.scored_per_trained == pytest.approx(
        1.81e10 / 2.86e10, rel=0.01
    )  # tests/builders/estimate/test_image_counts.py


def test_eager_and_fleets_do_their_rounds(tmp_path, settings_restored, monkeypatch):
    use_grouped(monkeypatch)
    scale = replace(DRY, eager_images=64, lanes=1)
    write_images(tmp_path, scale)
    eager_work(tmp_path, "smallest", scale, "cpu")()
    work = gpu.fleet_work(tmp_path, "smallest", scale, "cpu", "grouped", "float32")
    work()
    work()


@pytest.mark.slow
def test_processes_side_by_side_do_a_round_together(tmp_path):
    write_images(tmp_path, DRY)
    work = side_by_side(tmp_path, "smallest", replace(DRY, eager_images=64), "cpu")
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
    return {name: Timing(values, 0.0) for name, values in times.items()}


@pytest.mark.slow
def test_the_whole_script(tmp_path, capsys, settings_restored, monkeypatch):
    use_grouped(monkeypatch)
    monkeypatch.setattr(gpu, "CARD_BACKENDS", ("grouped",))
    monkeypatch.setattr(gpu, "alternate", here)
    file = tmp_path / "rows.json"
    common = ["--dry", "--rounds", "1", "--backend", "grouped", "--precision", "float32", "--json", str(file)]
    gpu.main([*common, "--workload", "smallest"])
    rows = json.loads(file.read_text())
    assert [row["contender"] for row in rows] == ["eager", "2 processes", "grouped float32"]
    assert all(row["images_per_s"] > 0 for row in rows)
    assert "say nothing" in capsys.readouterr().out


def test_hours_need_both_workloads():
    rows = [gpu.Row(name, "x", speed, 1, 1, 1) for name, speed in (("fixed", 1e6), ("mixed", 2e6), ("largest", 1e5))]
    assert gpu.dataset_hours(rows) == {"x": pytest.approx(2.9e10 * (3 / 16 / 1e6 + 13 / 16 / 2e6) / 3600)}
    assert gpu.dataset_hours(rows[1:]) == {}
    assert "whole dataset with x" in gpu.render(rows)


def test_without_a_card_it_measures_nothing():
    with pytest.raises(BuildError, match=r"--rounds must be at least 1"):
        gpu.main(["--rounds", "0", "--dry"])
    if not torch.cuda.is_available():
        with pytest.raises(BuildError, match=r"--device cuda: .*nvidia-smi"):
            gpu.main(["--rounds", "1"])


def test_a_refusal_is_one_line():
    command = [sys.executable, "-m", "benchmarks.speed.gpu", "--rounds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("benchmarks.speed.gpu: --rounds must be at least 1") and done.stderr.count("\n") == 1
