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


def compiled(capability: int, *jobs: str) -> list[dict[str, Any]]:
    """Compile in a process of its own, without the interpreter; Triton's cache holds kernels of this code alone."""
    cache = cached_folder("triton", "builders/compute/cards", "tests/builders/compute/cards/blocks")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "tests.builders.compute.cards.blocks.compile_kernels", str(capability), *jobs]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check(kernels: list[dict[str, Any]], capability: int, stack: int = 0) -> None:
    for kernel in kernels:
        assert kernel["STACK"] <= stack and kernel["LOCAL"] == 0, f"registers spill: {kernel}"
        assert kernel["shared"] <= SHARED[capability], kernel
        assert kernel["REG"] * kernel["warps"] * 32 <= 65536, kernel


@pytest.mark.slow
def test_kernels_compile_for_hopper():
    kernels = compiled(90, "largest:bfloat16", "largest:tf32", "ablation:float32")
    assert {kernel["kernel"] for kernel in kernels} == KERNELS
    check(kernels, 90)
    for kernel in kernels:
        if kernel["kernel"] in PRODUCTS:
            assert kernel["wgmma"] == ("float32" not in kernel["job"]), f"not on the matrix units: {kernel}"
            if "bfloat16" in kernel["job"]:  # 8 or 16 bytes at once; 4 channels are 8 bytes
                assert kernel["copies"] and set(kernel["copies"]) <= {"0x8", "0x10"}, kernel


@pytest.mark.slow
def test_kernels_compile_for_an_older_card():
    kernels = compiled(80, "fixed:bfloat16")
    assert {kernel["kernel"] for kernel in kernels} == KERNELS
    check(kernels, 80)
    assert all(kernel["mma"] for kernel in kernels if kernel["kernel"] in PRODUCTS)


# With 32 channels the compiler once crashed in float32 alone, whose tiles are the shortest.
@pytest.mark.parametrize(
    "shapes", [pytest.param("sample", marks=pytest.mark.slow), *(pytest.param(n, marks=pytest.mark.long) for n in "357")]
)
def test_every_layer_shape_compiles_in_float32(shapes):
    kernels = compiled(90, f"{shapes}:float32")
    assert {kernel["kernel"] for kernel in kernels} == KERNELS
    check(kernels, 90, stack=8)  # of one kernel gradient
