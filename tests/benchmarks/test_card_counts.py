"""Kernels and bytes of known operations and launches, counted by hand; a real step has the parts that it should."""

from __future__ import annotations

import json

import pytest
import torch
import triton
import triton.language as tl

from benchmarks.speed import card_counts
from benchmarks.speed.card_counts import ARCHITECTURES, Counts, floor_bytes

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts by Triton's interpreter")


@pytest.mark.parametrize(
    ("work", "kernels", "nbytes"),
    [
        (lambda x: x.view(-1)[3:].view(-1, 1), 0, 0),
        (lambda x: torch.empty_like(x), 0, 0),
        (lambda x: x + x, 1, 3 * 400),
        (lambda x: x.add_(x), 1, 3 * 400),  # reads both, and is written
        (lambda x: x.copy_(x), 1, 2 * 400),  # the target is not read
        (lambda x: x.zero_(), 1, 400),
        (lambda x: torch.mul(x, x, out=torch.empty(100)), 1, 3 * 400),
        (lambda x: x[:1].expand(100) + 1, 1, 4 + 400),
        (lambda x: x.index_select(0, torch.zeros(5, dtype=torch.int64)), 2, 5 * 8 + (20 + 5 * 8) + 20),
        (lambda x: x.to(torch.bfloat16).sum(), 2, 400 + 200 + 200 + 2),
    ],
)
def test_operations_count_as_they_should(work, kernels, nbytes):
    counts, x = Counts(), torch.ones(100)
    with counts:
        work(x)
    assert (counts.kernels.total(), counts.nbytes.total()) == (kernels, nbytes)


@triton.jit
def update_kernel(x_ptr, y_ptr, table_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    y = tl.load(y_ptr + at, mask=at < n, other=0.0)
    tl.store(x_ptr + at, x + y + tl.load(table_ptr + 3), mask=at < n)


def test_a_launch_moves_what_its_programs_touch():
    counts, storage, table = Counts(), torch.ones(2, 256), torch.zeros(1000)
    x, y = storage.unbind()  # of one storage, apart
    with counts.launches(), counts:
        update_kernel[(2,)](x, y, table, 256, BLOCK=128)
    assert x.eq(2).sum() == 128  # the first program alone ran
    assert (counts.kernels.total(), counts.nbytes.total()) == (1, 3 * 1024 + 2 * 4)


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
    assert {part.split("/")[-1] for part in row["parts"]} >= {"fleet.py", "triton.py"}
    assert row["times_floor"] > 1  # nothing that has to be moved is missed
    assert found["estimated_hours"]["random"] > found["estimated_hours"]["fixed"] > 0
