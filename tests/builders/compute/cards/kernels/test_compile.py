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
NORM_KERNELS = {"moments_kernel", "norm_sums_kernel"}
KERNELS = NORM_KERNELS | {
    f"{name}_kernel"
    for name in (
        *("images", "pack", "conv", "finish", "hidden", "output", "weights", "inputs", "finish_gradient", "sum"),
        *("kernel_gradient", "update", "advance"),
    )
}
PRODUCTS = {"conv_kernel", "kernel_gradient_kernel"}
SHARED = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory that one block may take, by compute capability (CUDA C++ Programming Guide)."""


def compiled(*jobs: str) -> list[dict[str, Any]]:
    """Compile in a process of its own, without the interpreter; Triton's cache holds kernels of this code alone."""
    cache = cached_folder("triton", "builders/compute/cards", "tests/builders/compute/cards/kernels")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "tests.builders.compute.cards.kernels.compile_kernels", *jobs]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check(kernel: dict[str, Any], capability: int, precision: str) -> None:
    """It takes no more than a card has, and its products run on the units that they are for."""
    # Few kernels take 8 bytes of stack beside 72 registers and more to spare: no lack of them.
    assert kernel["STACK"] <= 8 and kernel["LOCAL"] == 0, f"registers spill: {kernel}"
    assert kernel["shared"] <= SHARED[capability], kernel
    assert kernel["REG"] * kernel["warps"] * 32 <= 65536, kernel
    if kernel["kernel"] in PRODUCTS:
        unit = {90: "wgmma", 80: "mma"}[capability]
        assert kernel[unit] == (kernel["precision"] != "ieee"), f"on the wrong units: {kernel}"
        if (capability, precision, kernel["precision"]) == (90, "bfloat16", "tf32"):
            # 8 or 16 bytes at once; 4 channels are 8 bytes.
            assert kernel["copies"] and set(kernel["copies"]) <= {"0x8", "0x10"}, kernel


SAMPLE = ["90:smallest:bfloat16:32", "90:ablation:float32", "80:fixed:tf32:256", "90:largest:bfloat16:256"]


# With 32 channels, as in `fixed`, the compiler once crashed in float32 alone, whose tiles are the shortest.
@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(SAMPLE[:1], marks=pytest.mark.slow, id="sample"),
        pytest.param(SAMPLE[1:], marks=pytest.mark.long, id="others"),
        *(
            pytest.param([f"{capability}:{filter_size}:{precision}"], marks=pytest.mark.long)
            for capability in (80, 90)
            for filter_size in (3, 5, 7)
            for precision in ("bfloat16", "tf32", "float32")
        ),
    ],
)
def test_kernels_compile(jobs):
    kernels = compiled(*jobs)
    assert {kernel["job"] for kernel in kernels} == set(jobs)
    assert {kernel["kernel"] for kernel in kernels} == KERNELS
    for kernel in kernels:
        capability, _, precision, *_ = kernel["job"].split(":")
        check(kernel, int(capability), precision)
