"""The DMC as a method, on a small planted dataset; killed and started again."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import nws_data
from baselines.dmc.budget import RotatingSampler
from baselines.dmc.method import DMC, standardisation
from baselines.method import MethodError, item_length
from baselines.registry import make_method
from nws_data.errors import ArgumentError, SelectionError
from nws_data.read.sampler import EpochSampler
from nws_data.read.views import LayerTensors
from nws_data.tasks.lightning import TaskDataModule
from nws_data.tasks.task import load_task
from tests.processes import Process

TASK = "local/augmentation@100"


@pytest.fixture(scope="module")
def task(planted_root):
    return load_task(TASK, planted_root)


@pytest.fixture(scope="module")
def fitted(task):
    method = make_method("dmc", 3, epochs="2", snapshots_per_epoch="2", device="cpu")
    method.fit(task)
    return method


@pytest.mark.slow
def test_a_fit_predicts_probabilities_in_order(task, fitted):
    assert DMC().training_s is None and fitted.training_s > 0
    assert fitted.n_parameters == 6_999_813 - 3 * 65  # Table 3 with 1,536 flattened values and two classes
    scores = fitted.predict(task.test)
    assert scores.shape == (len(task.test), 2) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    weights, _ = task.test[13]
    alone = fitted._module(weights[None]).softmax(dim=1).detach()[0]
    np.testing.assert_allclose(scores[13], alone, atol=1e-5)
    assert 0 <= task.evaluate(scores).accuracy <= 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(task, fitted):
    torch.manual_seed(1)
    again = DMC(3, epochs=2, snapshots_per_epoch=2, device="cpu")
    again.fit(task)
    np.testing.assert_array_equal(again.predict(task.test), fitted.predict(task.test))


def test_predicting_before_fitting_or_on_other_items_is_refused(task, fitted, planted_root):
    with pytest.raises(MethodError, match="DMC predicts after fit"):
        DMC().predict(task.test)
    with pytest.raises(MethodError, match="fitted on items of 100 values, this view's have 200"):
        fitted.predict(load_task("local/augmentation@200", planted_root).test)
    with pytest.raises(MethodError, match="read whole vectors or windows, got LayerTensors"):
        item_length(LayerTensors(nws_data.open(planted_root, "fixed")))


@pytest.mark.slow
def test_a_number_is_predicted_in_its_own_unit(planted_root):
    task = load_task("regress-local/learning_rate@100", planted_root)
    method = DMC(0, budget="short", epochs=2, device="cpu")
    method.fit(task)
    predicted = method.predict(task.test)
    assert predicted.shape == (len(task.test),)
    mean, scale = standardisation(task.train.labels)
    assert mean == pytest.approx(task.train.labels.numpy().astype(float).mean())
    assert scale == pytest.approx(task.train.labels.numpy().astype(float).std())
    assert np.abs(predicted - mean).max() < 20 * scale
    assert standardisation(torch.ones(3)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "large"}, "budget: got 'large'; choose one of paper, short"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"snapshots_per_epoch": -1}, "snapshots_per_epoch must be at least 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, got nan"),
        ({"checkpoint_every_s": float("inf")}, "checkpoint_every_s must be .* at least 0, got inf"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises((MethodError, ArgumentError), match=message):
        DMC(**options)


def test_a_last_batch_of_one_item_is_left_out_and_another_one_in_every_epoch(task):
    n = len(task.train)
    size = next(size for size in range(2, n) if n % size == 1)
    loader = TaskDataModule(task, size).train_dataloader()
    assert {len(labels) for _, labels in loader} == {size} and len(loader) == n // size
    left_out = set()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        left_out |= set(range(n)) - set(list(loader.sampler)[: n - 1])
    assert len(left_out) > 1
    assert isinstance(loader.sampler, EpochSampler) and not isinstance(loader.sampler, RotatingSampler)


def kill_runs(root: Path, folder: Path) -> None:
    """Make a run, and the same run in a process that is killed twice; what takes seconds to import is there for all."""
    torch.set_num_threads(1)

    def run(name: str, killed_after_s: float | None = None) -> int:
        pid = os.fork()  # one thread
        if not pid:
            try:
                method = DMC(1, epochs=4, snapshots_per_epoch=1, device="cpu", folder=folder / name, checkpoint_every_s=0)
                method.fit(load_task("local/augmentation@100", root))
                torch.save(method._module.state_dict(), folder / f"{name}.pt")
                os._exit(0)
            finally:
                os._exit(1)
        if killed_after_s is not None:
            time.sleep(killed_after_s)
            os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]

    began_s = time.monotonic()
    assert run("whole") == 0
    whole_s, moments = time.monotonic() - began_s, random.Random(4)
    killed = [run("killed", moments.uniform(whole_s / 4, whole_s * 3 / 4)) for _ in range(2)]
    assert signal.SIGKILL in killed and run("killed") == 0


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(planted_root, tmp_path):
    process = Process(kill_runs, planted_root, tmp_path)
    assert process.wait(300) == 0, process.printed()
    expected, got = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "killed"))
    assert expected.keys() == got.keys()
    assert all(torch.equal(value, got[name]) for name, value in expected.items())


def test_windows_cannot_be_permuted(task):
    with pytest.raises(SelectionError, match="only whole vectors"):
        DMC(permute=True, device="cpu").fit(task)
