"""How trainings are computed: what has to be equal for two builds to give the same bits."""

from __future__ import annotations

import torch

from nws_data.memory import keep_freed_memory

PRECISIONS = ("float32", "bfloat16")


def enter_compute_path() -> None:
    """Set this process up: one thread, so that sums have one order, and denormals as zeros, since they are slow."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def compute_path() -> str:
    """Return the name of this machine's path: version of the fleet's arithmetic and the processor's vector units."""
    capability = torch.backends.cpu.get_cpu_capability()
    bf16 = "+bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"cpu-fleet-1/{capability}{bf16}"
