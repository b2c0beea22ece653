"""Compiles kernels.c with the machine's C compiler, once, and loads it; the user's cache keeps the result."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from nws_data.storage.atomic import write_bytes

SOURCE = Path(__file__).with_name("kernels.c")

# No fast-math and no contraction: the bits follow from the source. The rest lets selects and roots become vectors.
_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_TUNING = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT_S = 300.0


@lru_cache(maxsize=1)
def compiler() -> str | None:
    """Return the path of the C compiler: ``$CC``, cc, gcc or clang; None where there is none."""
    names = [os.environ["CC"]] if os.environ.get("CC") else _COMPILERS
    return next((found for name in names if (found := shutil.which(name))), None)


@lru_cache(maxsize=2)
def load_library(real64: bool = False) -> ctypes.CDLL | None:
    """Return the kernels, in float or (tests) in double; None where they cannot be compiled.

    The first call compiles, which takes some ten seconds; later ones, of other processes too, find the result in the
    cache, under a name that holds source, flags, compiler and processor.
    """
    program = compiler()
    if program is None:
        return None
    define = ("-DREAL64",) if real64 else ()
    for tuning in _TUNING:
        path = _cache() / f"kernels-{_digest(program, (*tuning, *define))}.so"
        if path.exists() or _compile(program, (*_FLAGS, *tuning, *define), path):
            return ctypes.CDLL(str(path))
    return None


def _compile(program: str, flags: tuple[str, ...], path: Path) -> bool:
    """Compile into the cache; return whether that worked."""
    if sys.stderr.isatty():
        print("compiling the kernels of the native CPU path, once: some ten seconds", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "kernels.so"
        command = [program, *flags, "-o", str(result), str(SOURCE), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode or not result.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, result.read_bytes())
    return True


def _digest(program: str, flags: tuple[str, ...]) -> str:
    """Return a name for what the compiler makes of the source on this processor."""
    version = subprocess.run([program, "--version"], capture_output=True, check=False).stdout
    parts = (SOURCE.read_bytes(), version, " ".join((*_FLAGS, *flags)).encode(), _processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> str:
    """Return what ``-march=native`` looks at, so that a home directory shared by different machines keeps one file each."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}))


def _cache() -> Path:
    """Return the folder of compiled kernels: the user's cache, or the temporary folder where that cannot be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        (home / "nws").mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / f"nws-{os.getuid()}"
    return home / "nws" if os.access(home / "nws", os.W_OK) else Path(tempfile.gettempdir()) / f"nws-{os.getuid()}"
