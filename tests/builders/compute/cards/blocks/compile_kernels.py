"""Compiles every kernel of the Triton block for a card that need not be there, and tells what each one takes.

``python -m tests.builders.compute.cards.blocks.compile_kernels 90 smallest:bfloat16 largest:tf32`` runs the first and the
last conv block of the named architectures, ``... 90 largest:tf32:all`` every one, forward and backward on tensors without
data ("meta"), with launches replaced by compilation: the same code, arguments and tile sizes as on the card. ``draw`` is
the kernel of the augmentations' draws. Prints one JSON list. Not for a process with ``TRITON_INTERPRET``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from builders.compute.cards.blocks.triton import triton_block
from builders.compute.cards.draw import draw
from nws_data.space.architecture import IMAGE_SHAPE, Architecture

ARCHITECTURES = {
    "smallest": Architecture(3, 3, 3, 16, 64),
    "fixed": Architecture(5, 3, 3, 32, 128),
    "largest": Architecture(7, 5, 5, 48, 192),
    "ablation": Architecture(5, 4, 3, 16, 64, batch_norm=False),
}
PRECISIONS = {"bfloat16": torch.bfloat16, "tf32": torch.float32, "float32": torch.float32}
MEMBERS, BATCH = 8, 32  # a batch of 32 has one split at 8 x 8 pixels, which Triton compiles as a constant
_compiled: dict[str, dict[str, Any]] = {}


class AbsentCard:
    """A driver that knows for what to compile, and nothing else."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_blocks(architecture: Architecture, dtype: torch.dtype, every: bool) -> None:
    """Run conv blocks of an architecture forward and backward."""
    layers = [layer for layer in architecture.layers if layer.is_conv]
    size = IMAGE_SHAPE[1]
    for i, layer in enumerate(layers):
        if 0 < i < len(layers) - 1 and not every:
            size //= 2 if layer.pool_after else 1
            continue
        shape = (MEMBERS, layer.n_out)
        x = leaf(MEMBERS, BATCH, size, size, layer.n_in, dtype=dtype)
        kernel = leaf(MEMBERS, *layer["kernel"].shape)
        norm = [leaf(*shape), leaf(*shape)] if layer.has_norm else [None, None]
        leaves = [x, kernel, leaf(*shape), *norm]
        codes = torch.empty(MEMBERS, dtype=torch.int32, device="meta")
        y, _, _ = triton_block(*leaves, codes, pool=layer.pool_after)
        torch.autograd.grad(y, [t for t in leaves if t is not None], torch.empty_like(y))
        size = y.shape[2]


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=True)


def resources(cubin: bytes) -> dict[str, int]:
    """Registers, stack and local memory of a compiled kernel, as cuobjdump (part of Triton) reports them."""
    dump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([dump, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf"{name}:(\d+)", text).group(1)) for name in ("REG", "STACK", "LOCAL")}


def main(capability: int, jobs: list[str]) -> None:
    driver.set_active(AbsentCard(capability))
    launch = triton.JITFunction.run

    def compile_only(function: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = launch(function, *arguments, grid=grid, warmup=True, **options)
        _compiled.setdefault(
            kernel.hash,
            {
                "job": job,
                "kernel": function.__name__,
                "shared": kernel.metadata.shared,
                "warps": kernel.metadata.num_warps,
                "wgmma": "wgmma" in kernel.asm["ptx"],
                "mma": "mma.sync" in kernel.asm["ptx"],
                "copies": sorted(set(re.findall(r"cp\.async\.c[ag]\.shared\.global [^;]*?, (0x\w+),", kernel.asm["ptx"]))),
                **resources(kernel.asm["cubin"]),
            },
        )
        return kernel

    triton.JITFunction.run = compile_only
    for job in jobs:
        if job == "draw":
            draw(*(torch.empty(MEMBERS, dtype=torch.int64, device="meta") for _ in range(2)), per_member=BATCH)
            continue
        name, precision, *every = job.split(":")
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
        compile_blocks(ARCHITECTURES[name], PRECISIONS[precision], bool(every))
    print(json.dumps(list(_compiled.values())))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
