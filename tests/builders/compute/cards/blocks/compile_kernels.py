"""Compiles every kernel of the Triton block for cards that need not be there, and tells what each one takes.

``python -m tests.builders.compute.cards.blocks.compile_kernels 90:fixed:bfloat16 80:fixed:tf32:last 90:3:float32`` runs, for
these compute capabilities, the first and the last conv block of the named architecture, the last one alone, and every layer
shape of filter size 3, forward and backward on tensors without data ("meta"), with launches replaced by compilation: the
same code, arguments and tile sizes as on the card. ``90:rest`` are the kernels of the random draws and of the update. Prints
one JSON list. Not for a process with ``TRITON_INTERPRET``.
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
from builders.compute.cards.draw import draw, draw_mask
from builders.compute.cards.update import update
from builders.recipe.optimizers import FleetOptimizer
from nws_data.space.architecture import Architecture
from tests.builders.compute.cards.blocks.oracle import layer_shapes

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

    capability = 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability  # Triton keeps what it compiles by device

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_block(shape: tuple[int, int, int, int, bool], norm: bool, dtype: torch.dtype) -> None:
    """Run the conv block of a layer shape, see ``layer_shapes``, forward and backward."""
    filter_size, n_in, n_out, size, pool = shape
    x = leaf(MEMBERS, BATCH, size, size, n_in, dtype=dtype)
    kernel = leaf(MEMBERS, n_out, n_in, filter_size, filter_size)
    vectors = [leaf(MEMBERS, n_out) for _ in range(3 if norm else 1)]
    leaves = [x, kernel, *vectors]
    codes = torch.empty(MEMBERS, dtype=torch.int32, device="meta")
    y, _, _ = triton_block(*leaves, *[None] * (5 - len(leaves)), codes, pool=pool)
    torch.autograd.grad(y, leaves, torch.empty_like(y))


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


def main(jobs: list[str]) -> None:
    card = AbsentCard()
    driver.set_active(card)
    launch = triton.JITFunction.run

    def compile_only(function: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = launch(function, *arguments, grid=grid, warmup=True, **options)
        if kernel.hash not in _compiled:
            _compiled[kernel.hash] = {
                "job": job,
                "kernel": function.__name__,
                "shared": kernel.metadata.shared,
                "warps": kernel.metadata.num_warps,
                "wgmma": "wgmma" in kernel.asm["ptx"],
                "mma": "mma.sync" in kernel.asm["ptx"],
                "copies": sorted(set(re.findall(r"cp\.async\.c[ag]\.shared\.global [^;]*?, (0x\w+),", kernel.asm["ptx"]))),
                **resources(kernel.asm["cubin"]),
            }
        return kernel

    triton.JITFunction.run = compile_only
    for job in jobs:
        capability, name, *rest = job.split(":")
        card.capability = int(capability)
        if name == "rest":
            slots = [torch.empty(MEMBERS, dtype=torch.int64, device="meta") for _ in range(2)]
            draw(*slots, per_member=BATCH)
            draw_mask(*slots, BATCH, 96)
            vectors = [torch.empty(MEMBERS, 21_260, device="meta") for _ in range(2)]
            update(FleetOptimizer(MEMBERS, 21_260, torch.float32, "meta"), *vectors, torch.empty(MEMBERS, 1, device="meta"))
            continue
        precision, *last = rest
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
        if name in ARCHITECTURES:
            architecture = ARCHITECTURES[name]
            shapes = layer_shapes([architecture])
            first, final = min(shapes, key=lambda shape: shape[1]), max(shapes, key=lambda shape: shape[1:3])
            shapes = [final] if last else [first, final]
        else:
            architecture, shapes = None, [shape for shape in layer_shapes() if shape[0] == int(name)]
        for shape in shapes:
            compile_block(shape, architecture is None or architecture.batch_norm, PRECISIONS[precision])
    print(json.dumps(list(_compiled.values())))


if __name__ == "__main__":
    main(sys.argv[1:])
