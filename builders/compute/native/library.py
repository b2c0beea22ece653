"""Compiles kernels.c with the machine's C compiler, once, and loads it; the user's cache keeps the result."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from builders.recipe.constants import ACTIVATION_CODES, DROPOUT_SCALE
from nws_data.atomic import write_bytes
from nws_data.errors import BuildError, NWSError
from nws_data.home import user_cache
from nws_data.progress import is_watched
from nws_data.terminal import say

SOURCE = Path(__file__).with_name("kernels.c")

# No fast-math and no contraction: the bits follow from the source. The rest lets selects and roots become vectors.
_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_TUNING = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
LONGEST_ROW = 384
"""Values in the longest row of an image that the kernels hold: 32 x 12, 16 x 24 or 8 x 48."""
MOST_UNITS = 192

_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT_S = 300.0
_PROBE = "images_in"  # a function of kernels.c: what a compiler wrote must have it


@lru_cache(maxsize=1)
def compiler() -> tuple[str, ...] | None:
    """Return the command of the C compiler: ``$CC``, perhaps with options, cc, gcc or clang; None where there is none."""
    try:
        commands = [tuple(shlex.split(os.environ.get("CC", "")))]
    except ValueError:  # a quote that never ends
        return None
    for name, *options in commands if commands[0] else [(name,) for name in _COMPILERS]:
        if found := shutil.which(name):
            return (found, *options)
    return None


@lru_cache(maxsize=2)
def load_library(real64: bool = False) -> ctypes.CDLL | None:
    """Return the kernels, in float or (tests) in double; None where they cannot be compiled.

    The first call compiles, which takes some ten seconds; later ones, of other processes too, find the result in the
    cache, under a name that holds source, flags, compiler and processor.
    """
    for tuning in _TUNING if compiler() else ():
        for folder in _folders():  # one that is full, or whose files must not run, leaves it to the next
            with suppress(OSError, AttributeError, BuildError, subprocess.SubprocessError):
                return _cached_or_compiled((*_FLAGS, *tuning, *(("-DREAL64",) if real64 else ())), folder)
    return None


def _cached_or_compiled(flags: tuple[str, ...], folder: Path) -> ctypes.CDLL:
    """Return the kernels; raises as :func:`load_library` suppresses where the compiler, its result or the folder fails."""
    command = compiler() or ()
    version = _run(*command, "--version")
    parts = (
        SOURCE.read_bytes(),
        _header().encode(),
        version,
        " ".join((*command[1:], *flags)).encode(),
        _processor().encode(),
    )
    path = folder / f"kernels-{hashlib.sha256(bytes(0).join(parts)).hexdigest()[:16]}.so"
    if path.exists():
        return _loaded(path)
    if is_watched():
        say("compiling the kernels of the native CPU path, once: some ten seconds", error=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".compile-") as temporary:
        result = Path(temporary, "kernels.so")
        Path(temporary, "recipe.h").write_text(_header(), encoding="utf-8")
        _run(*command, *flags, "-I", temporary, "-o", str(result), str(SOURCE), "-lm")
        library = _loaded(result)
        write_bytes(path, result.read_bytes())
    return library


def _run(*command: str) -> bytes:
    """Return what a command prints; raises ``OSError`` or ``SubprocessError`` where it fails or takes too long."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout


def _loaded(path: Path) -> ctypes.CDLL:
    """Return a library; raises ``OSError`` or ``AttributeError`` when it is none, or not that of kernels.c."""
    library = ctypes.CDLL(str(path))
    getattr(library, _PROBE)
    return library


def _header() -> str:
    """Return what kernels.c takes from the recipe and from the limits that Python checks."""
    codes = [f"{name.upper()} = {code}" for name, code in ACTIVATION_CODES.items()]
    values = {"DROPOUT_SCALE": DROPOUT_SCALE, "ROW": LONGEST_ROW, "UNITS": MOST_UNITS}
    return "\n".join([f"enum {{ {', '.join(codes)} }};", *(f"#define {name} {value}" for name, value in values.items()), ""])


def _processor() -> str:
    """Return what ``-march=native`` looks at, so that a home directory shared by different machines keeps one file each."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}))


def _folders() -> Iterator[Path]:
    """Yield where compiled kernels may stand, in order: the user's cache, the temporary folder; those that are writable."""
    with suppress(OSError, NWSError):  # NWSError: no home
        folder = user_cache()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            yield folder
    with suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"nws-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()  # its name can be guessed: another user's files must not be loaded
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            yield folder
