"""How a process that trains on the CPU keeps its memory."""

from __future__ import annotations

import ctypes
import sys

# mallopt parameters of glibc, <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of giving them back: activations are freed and asked for at every step,
    and fresh pages cost a quarter to a third of a step. Changes no bit; other C libraries go without."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 64 << 20)
