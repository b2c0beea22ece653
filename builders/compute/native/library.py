"""Compiles kernels.c with the machine's C compiler, once, and loads it; the user's cache keeps the result.

A file of the cache carries the digest of its own content in its name and is loaded only if that is right: a library that
lost its end, as after a power cut, would take the process down with it.
"""

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
    command = compiler()
    if command is None:
        return None
    define = ("-DREAL64",) if real64 else ()
    for tuning in _TUNING:
        library = _cached_or_compiled(command, (*_FLAGS, *tuning, *define))
        if library is not None:
            return library
    return None


def _cached_or_compiled(command: tuple[str, ...], flags: tuple[str, ...]) -> ctypes.CDLL | None:
    """Return the kernels with these flags; None where the compiler refuses or nothing can be written."""
    name = _name(command, flags)
    if name is None:
        return None
    content = None
    for folder in _folders():  # one that is full, or whose files must not run, leaves it to the next
        for path in sorted(folder.glob(f"{name}-*.so")):
            with suppress(OSError):
                if path.name == _file_name(name, path.read_bytes()):
                    return ctypes.CDLL(str(path))
        content = content or _compile(command, flags, folder)
        if content is None:
            return None
        with suppress(OSError, BuildError, AttributeError):
            path = folder / _file_name(name, content)
            write_bytes(path, content)
            library = ctypes.CDLL(str(path))
            getattr(library, _PROBE)
            return library
    return None


def _header() -> str:
    """Return what kernels.c takes from the recipe and from the limits that Python checks."""
    codes = [f"{name.upper()} = {code}" for name, code in ACTIVATION_CODES.items()]
    values = {"DROPOUT_SCALE": DROPOUT_SCALE, "ROW": LONGEST_ROW, "UNITS": MOST_UNITS}
    return "\n".join([f"enum {{ {', '.join(codes)} }};", *(f"#define {name} {value}" for name, value in values.items()), ""])


def _file_name(name: str, content: bytes) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _compile(command: tuple[str, ...], flags: tuple[str, ...], folder: Path) -> bytes | None:
    """Return the bytes of the library; None where the compiler fails. ``folder`` is for its files meanwhile."""
    if is_watched():
        say("compiling the kernels of the native CPU path, once: some ten seconds", error=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".compile-") as temporary:
            result = Path(temporary) / "kernels.so"
            Path(temporary, "recipe.h").write_text(_header(), encoding="utf-8")
            whole = [*command, *flags, "-I", temporary, "-o", str(result), str(SOURCE), "-lm"]
            done = subprocess.run(whole, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
            return None if done.returncode else result.read_bytes()
    except (OSError, subprocess.TimeoutExpired):
        return None


def _name(command: tuple[str, ...], flags: tuple[str, ...]) -> str | None:
    """Return a name for what the compiler makes of the source on this processor; None for what does not run."""
    try:
        probe = [*command, "--version"]
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    options = " ".join((*command[1:], *flags)).encode()
    parts = (SOURCE.read_bytes(), _header().encode(), done.stdout, options, _processor().encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return f"kernels-{digest[:16]}"


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
