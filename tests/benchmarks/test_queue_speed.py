"""The benchmark of the mixed queue: what it counts, and that a small one runs."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from benchmarks.speed import queue
from builders.images.bank import ImageBank
from builders.plan.shape import forward_flop
from nws_data.space.architecture import Architecture


def test_the_queue_is_the_plans_beginning():
    longer = queue.queue(6)
    assert queue.queue(3) == longer[:3]
    assert len({Architecture.of(planned.hyperparameters) for planned in longer}) > 1


def test_operations_count_training_three_times(tmp_path):
    queue.write_images(tmp_path)
    (planned,) = queue.queue(1)
    n = len(ImageBank.open(tmp_path).labels(planned.hyperparameters.dataset, "train"))
    trained = queue.queue_flop(tmp_path, 1) / forward_flop(Architecture.of(planned.hyperparameters))
    scored = (2 * (n // 10) + queue.N_TEST) * (queue.N_EPOCHS + 1)
    assert 0.75 * n < (trained - scored) / 3 / queue.N_EPOCHS <= 0.9 * n  # classes are balanced, batches full


@pytest.mark.slow
def test_a_short_queue_is_measured(monkeypatch):
    monkeypatch.setattr(queue, "N_TRAIN", 200)
    monkeypatch.setattr(queue, "N_TEST", 50)
    monkeypatch.setattr(queue, "gemm_peak", partial(queue.gemm_peak, seconds=0.01))
    rows = queue.measure(1, 1, ["native"])
    assert [row["contender"] for row in rows] == ["eager float32", "native float32", "native bfloat16"]
    assert rows[0]["ratio"] == 1 and all(row["ratio"] > 0 and row["share"] > 0 for row in rows)


def test_the_peak_is_positive():
    torch.set_num_threads(1)
    assert queue.gemm_peak("float32", seconds=0.2) > 1e9
