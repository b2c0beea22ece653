"""Bytes of a known launch, counted by hand; a real step has its kernels, and moves little more than it must."""

from __future__ import annotations

import json

import pytest
import torch
import triton
import triton.language as tl

from benchmarks.speed import card_counts
from benchmarks.speed.card_counts import ARCHITECTURES, counted, floor_bytes

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts by Triton's interpreter")


@triton.jit
def update_kernel(x_ptr, y_ptr, table_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    y = tl.load(y_ptr + at, mask=at < n, other=0.0)
    tl.store(x_ptr + at, x + y + tl.load(table_ptr + 3), mask=at < n)


def test_a_launch_moves_what_its_programs_touch():
    storage, table = torch.ones(2, 256), torch.zeros(1000)
    x, y = storage.unbind()  # of one storage, apart
    with counted() as (kernels, nbytes):
        update_kernel[(2,)](x, y, table, 256, BLOCK=128)
    assert x.eq(2).sum() == 128  # the first program alone ran
    assert (kernels.total(), nbytes.total()) == (1, 3 * 1024 + 2 * 4)


def test_the_floor_is_the_reviews():
    # A review counted the tensors of the convolutions as they were, with the partial sums of the gradients.
    for name, batch, kilobytes in (("smallest", 32, 161), ("fixed", 64, 312), ("largest", 32, 1060), ("largest", 256, 765)):
        assert 0.84 < floor_bytes(ARCHITECTURES[name], batch) / 1e3 / kilobytes <= 1


@pytest.mark.slow
def test_a_step_is_counted(capsys):
    card_counts.main(["--architecture", "smallest", "--batch", "32", "--slots", "2", "--json"])
    found = json.loads(capsys.readouterr().out)
    (row,) = found["steps"]
    assert row["kernels"] == sum(n for n, _ in row["parts"].values())
    assert row["kb_image"] == pytest.approx(sum(kb for _, kb in row["parts"].values()))
    assert row["parts"].keys() >= {"images_kernel", "conv_kernel", "hidden_kernel", "update_kernel"}
    assert 1 < row["times_floor"] < card_counts.GOAL and row["kernels"] < card_counts.GOAL_KERNELS
    assert found["estimated_hours"]["random"] > found["estimated_hours"]["fixed"] > 0
