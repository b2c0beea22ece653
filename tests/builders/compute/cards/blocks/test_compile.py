"""The Triton kernels compile for cards that are not here, within their registers and shared memory.

Compiling proves neither results nor speed; results are tested in the interpreter and, where there is a card, on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import cached_folder

ROOT = Path(__file__).parents[5]
KERNELS = {
    "conv_kernel",
    "kernel_gradient_kernel",
    "moments_kernel",
    "finish_kernel",
    "norm_sums_kernel",
    "finish_gradient_kernel",
}
PRODUCTS = {"conv_kernel", "kernel_gradient_kernel"}
SHARED = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that one block may take, by compute capability (CUDA C++ Programming Guide)."""


def compiled(*jobs: str) -> list[dict[str, Any]]:
    """Compile in a process of its own, without the interpreter; Triton's cache holds kernels of this code alone."""
    cache = cached_folder("triton", "builders/compute/cards", "tests/builders/compute/cards/blocks")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "tests.builders.compute.cards.blocks.compile_kernels", *jobs]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check(kernel: dict[str, Any], capability: int, precision: str) -> None:
    """It takes no more than a card has, and its products run on the units that they are for."""
    assert kernel["STACK"] <= (8 if precision == "float32" else 0), f"registers spill: {kernel}"  # 8: one kernel gradient
    assert kernel["LOCAL"] == 0, f"registers spill: {kernel}"
    assert kernel["shared"] <= SHARED[capability], kernel
    assert kernel["REG"] * kernel["warps"] * 32 <= 65536, kernel
    if kernel["kernel"] in PRODUCTS:
        unit = {90: "wgmma", 80: "mma"}[capability]
        assert kernel[unit] == (precision != "float32"), f"on the wrong units: {kernel}"
        if (capability, precision) == (90, "bfloat16"):  # 8 or 16 bytes at once; 4 channels are 8 bytes
            assert kernel["copies"] and set(kernel["copies"]) <= {"0x8", "0x10"}, kernel


SAMPLE = ["90:largest:bfloat16:last", "90:ablation:tf32:last", "90:fixed:float32:last", "80:fixed:bfloat16:last", "90:rest"]


# With 32 channels, as in `fixed`, the compiler once crashed in float32 alone, whose tiles are the shortest.
@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(SAMPLE, marks=pytest.mark.slow, id="sample"),
        *(
            pytest.param(jobs, marks=pytest.mark.long, id=" ".join(jobs))
            for jobs in (
                ["90:largest:bfloat16", "90:largest:tf32", "90:ablation:float32"],
                ["80:fixed:bfloat16"],
                *([f"90:{filter_size}:float32"] for filter_size in (3, 5, 7)),
            )
        ),
    ],
)
def test_kernels_compile(jobs):
    kernels = compiled(*jobs)
    rest = {"draw_kernel", "mask_kernel", "update_kernel"} if "90:rest" in jobs else set()
    assert {kernel["job"] for kernel in kernels} == set(jobs)
    assert {kernel["kernel"] for kernel in kernels} == KERNELS | rest
    for kernel in kernels:
        capability, _, *precision = kernel["job"].split(":")
        check(kernel, int(capability), precision[0] if precision else "")
