"""The benchmark of a worker's memory, on small image sets."""

from __future__ import annotations

import sys

import pytest

from benchmarks.speed import memory
from builders.config import WORKER_BYTES
from builders.images.bank import random_bank


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's accounting")
def test_a_worker_stays_below_what_a_build_warns_by(tmp_path, monkeypatch):
    sizes = dict.fromkeys(memory.SIZES, (800, 400))
    monkeypatch.setattr(memory, "SIZES", sizes)
    random_bank(tmp_path, sizes)
    worst = memory.worst_worker(tmp_path, "native")["private_mb"]
    vectors = 64 * 4 * memory.all_architectures()[-1].n_weights
    assert vectors / 1e6 < worst < WORKER_BYTES / 1e6
