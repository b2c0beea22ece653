"""Jobs for cards: every training once, shared out evenly; a job trains all its shapes."""

from __future__ import annotations

import os

import pytest
import torch
from torch.utils import deterministic

import nws_data
from builders.build import build
from builders.compute.backend import BACKENDS, Backend, check_arithmetic, implementation
from builders.compute.cards.card import open_card
from builders.compute.compute_path import resolve_device
from builders.compute.lane import Steps
from builders.compute.trainer import train
from builders.config import BuildConfig
from builders.images.prepare import ImageOptions
from builders.plan.jobs import make_card_jobs
from builders.plan.shape import Shape
from builders.run.messages import Progress
from builders.run.worker import WorkerSettings, run_job
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord
from tests.builders.conftest import planned


@pytest.fixture
def device_path():
    """Undo what entering the device path sets in this process."""
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.deterministic = False
    if workspace is None:
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.slow
def test_a_job_trains_all_its_shapes(bank, worker_path, device_path):
    trainings = [planned(0), planned(1, batch_size=64)]
    card = open_card("slots", bank, "float32", "cpu", most=1)
    events = list(train(trainings, card, epoch_cap=19))
    ids = {event.training for event in events if isinstance(event, TrainingRecord)}
    assert ids == {training.id for training in trainings}
    # An epoch of the 80 to 90 training images has 64 or so.
    assert sum(event.n_images for event in events if isinstance(event, Steps)) == 19 * (64 + 64)
    assert torch.are_deterministic_algorithms_enabled()


def test_auto_takes_the_card_if_there_is_one():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(BuildError, match="cpu, cuda, auto"):
        resolve_device("gpu")


def test_arithmetic_that_a_device_has_not_is_refused():
    check_arithmetic("cuda", "triton", "tf32")
    check_arithmetic("cpu", "plain", "bfloat16")
    with pytest.raises(BuildError, match=r"--precision on cpu: .*tf32 needs --device cuda"):
        check_arithmetic("cpu", "triton", "tf32")
    with pytest.raises(BuildError, match=r"--backend on cuda: .*triton"):
        check_arithmetic("cuda", "cudnn", "float32")


def test_backends_are_there_and_one_that_needs_more_says_so(monkeypatch):
    assert all(callable(implementation(name)) for name in BACKENDS)
    monkeypatch.setitem(BACKENDS, "absent", Backend("cuda", "cuda-absent-1", "absent.program:Program"))
    with pytest.raises(BuildError, match=r"--backend absent cannot be loaded \(No module named 'absent'\): install triton"):
        implementation("absent")


def test_a_build_on_a_card_is_refused_without_one_else_done(bank, tmp_path):
    options = {"trainings": {"fixed": 2}, "images": ImageOptions(sources=("digits",), n_train=300, n_test=100)}
    if not torch.cuda.is_available():
        with pytest.raises(BuildError, match=r"--device cuda: .* Give --device cpu"):
            BuildConfig(out=tmp_path / "nws", device="cuda", epoch_cap=19, **options)
        return
    build(BuildConfig(out=tmp_path / "nws", device="cuda", epoch_cap=19, **options))
    assert len(nws_data.open(tmp_path / "nws", "fixed")) == 40


@pytest.mark.slow
def test_a_worker_stages_what_a_device_trains(bank, worker_path, device_path, tmp_path, monkeypatch):
    monkeypatch.setattr(Shape, "card_slots", 1)  # on a CPU idle slots cost as much as others
    (job,) = make_card_jobs([planned(0)], ["cpu"])  # stands in for a card
    settings = WorkerSettings(bank.folder, tmp_path, 19, "float32", "cuda", "slots")
    messages = list(run_job(job, settings))
    record = TrainingRecord.load(tmp_path / "random-000000.safetensors")
    assert record.compute_path == "cuda-fleet-3/slots/cpu/float32" and record.n_epochs == 19
    images = sum(message.n_images for message in messages if isinstance(message, Progress))
    flop = sum(message.flop for message in messages if isinstance(message, Progress))
    assert images == 19 * 64 and flop == images * job.flop_per_image
