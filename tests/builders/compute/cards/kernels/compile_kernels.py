"""Compiles every kernel of a step and of scoring for cards that need not be there, and tells what each one takes.

``python -m tests.builders.compute.cards.kernels.compile_kernels 90:fixed:bfloat16 80:fixed:tf32:256 90:3:float32`` runs, for
these compute capabilities, the programs of the named architecture, for batches of 256 images, and of architectures that have
every layer shape of filter size 3 between them, on tensors without data ("meta"), with launches replaced by compilation: the
same code, arguments and tile sizes as on the card. Prints one JSON list. Not for a process with ``TRITON_INTERPRET``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from benchmarks.speed.card_checks import covering
from builders.compute.backend import compute_dtype, vector_dtype
from builders.compute.cards.fleet import PRODUCTS, SCORING
from builders.compute.cards.program import Program
from builders.compute.cards.state import State
from nws_data.space.architecture import Architecture

ARCHITECTURES = {
    "smallest": Architecture(3, 3, 3, 16, 64),
    "fixed": Architecture(5, 3, 3, 32, 128),
    "largest": Architecture(7, 5, 5, 48, 192),
    "ablation": Architecture(5, 4, 3, 16, 64, batch_norm=False),
}
MEMBERS, BATCH, CHUNK = 8, 64, 2048
META = torch.device("meta")
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


def run_programs(architecture: Architecture, precision: str, batch: int) -> None:
    """Run a training step, and the scoring of some images, which is the same in every precision."""
    bank: Any = SimpleNamespace(
        images=torch.empty(100, 3, 32, 32, dtype=torch.uint8, device=META),
        labels=torch.empty(100, dtype=torch.int64, device=META),
    )
    n = architecture.n_weights
    state, scoring = (State(sizes, vector_dtype(precision), META) for sizes in ((MEMBERS, n, 3, batch), (1, n, 3, CHUNK)))
    Program(architecture, state, bank, compute_dtype(precision), PRODUCTS[precision]).run()
    correct = torch.empty(3 * CHUNK, dtype=torch.uint8, device=META)
    Program(architecture, scoring, bank, vector_dtype(precision), SCORING, correct).run()


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
                "precision": options.get("PRECISION", ""),
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
        capability, name, precision, *batch = job.split(":")
        card.capability = int(capability)
        for architecture in [ARCHITECTURES[name]] if name in ARCHITECTURES else covering(int(name)):
            run_programs(architecture, precision, int(batch[0]) if batch else BATCH)
    print(json.dumps(list(_compiled.values())))


if __name__ == "__main__":
    main(sys.argv[1:])
