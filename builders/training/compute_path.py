"""How trainings are computed: what has to be equal for two builds to give the same bits."""

from __future__ import annotations

import ctypes
import sys

import torch

PRECISIONS = ("float32", "bfloat16")


# mallopt parameters of glibc, <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def enter_compute_path() -> None:
    """Set this process up: one thread, so that sums have one order, and denormals as zeros, since they are slow."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of giving them back: activations are freed and asked for at every step,
    and fresh pages cost a quarter of the fixed architecture's step. Changes no bit; other C libraries go without."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


def compute_path() -> str:
    """Return the name of this machine's path: version of the fleet's arithmetic and the processor's vector units."""
    capability = torch.backends.cpu.get_cpu_capability()
    bf16 = "+bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"cpu-fleet-1/{capability}{bf16}"
