"""What a process may use of its machine, and how it keeps its memory."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

# mallopt parameters of glibc, <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes that new processes can take without swapping; None where the kernel does not say, as on macOS."""
    meminfo = Path("/proc/meminfo")
    match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8")) if meminfo.is_file() else None
    return int(match[1]) * 1024 if match else None


def processor(field: str) -> str | None:
    """Return a field of ``/proc/cpuinfo``, such as ``model name`` or ``vendor_id``; None where the kernel does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    match = re.search(rf"^{field}\s*:\s*(.*\S)", text, re.MULTILINE)
    return match[1] if match else None


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
