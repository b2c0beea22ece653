"""The benchmark of starting workers, in short."""

from __future__ import annotations

import sys

import pytest

from benchmarks.speed.start import measure


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's accounting")
def test_forked_workers_have_less_memory_of_their_own():
    found = measure(2, 1)
    (forked,), (afresh,) = found["forked"], found["afresh"]
    assert forked["ready_s"] > 0 and afresh["ready_s"] > 0
    assert forked["private_mb"] < afresh["private_mb"] / 4
