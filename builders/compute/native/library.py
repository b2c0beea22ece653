"""Compiles kernels.c with the machine's C compiler, once, and loads it; the user's cache keeps the result.

Tensors are checked once by their maker; the kernels take pointers.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from builders.recipe.constants import ACTIVATION_CODES, DROPOUT_SCALE
from nws_data.atomic import write_bytes
from nws_data.errors import BuildError, NWSError
from nws_data.home import user_cache
from nws_data.machine import processor
from nws_data.progress import is_watched
from nws_data.terminal import say

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.c")

# No fast-math and no contraction: the bits follow from the source. The rest lets selects and roots become vectors.
_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_TUNING = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
LONGEST_ROW = 384
"""Values in the longest row of an image that the kernels hold: 32 x 12, 16 x 24 or 8 x 48."""
MOST_UNITS = 192

_CODES = {name.upper(): code for name, code in ACTIVATION_CODES.items()}
_VALUES = _CODES | {"DROPOUT_SCALE": DROPOUT_SCALE, "ROW": LONGEST_ROW, "UNITS": MOST_UNITS}
_DEFINED = tuple(f"-D{name}={value}" for name, value in _VALUES.items())
"""What kernels.c takes from the recipe and from the limits that Python checks."""

_PROCESSOR = ("model name", "flags", "Features", "CPU part")
"""What ``-march=native`` looks at: a home directory that different machines share keeps a file for each."""

_COMPILERS = ("cc", "gcc", "clang")
_TIMEOUT_S = 300.0


_P, _I, _L, _U32, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_uint32, ctypes.c_uint64


def _signatures(real: type) -> dict[str, list[type]]:
    return {
        "conv_forward": [_P, _I, _L, _I, _I, _P, _P, real, real, _I, _I, _P, _P, _P, _P, _P],
        "scale_pool_activate": [_P, _I, _L, _I, _I, _P, _P, _I, _I, _P],
        "conv_backward": [_P, _P, _P, _I, _L, _I, _I, _P, _P, _I, _I, _P, _P, _P, _P, _P],
        "hidden_forward": [_P, _I, _I, _I, _P, _P, real, real, _I, _P, _L, _P, _P, _P, _P, _P],
        "hidden_backward": [_P, _P, _I, _I, _I, _P, _I, _P, _L, _P, _P, _P, _P, _P],
        "cross_entropy": [_P, _I, _I, _I, _P, _P],
        "update": [_L, _P, _P, _P, _P, real, real, real, real, real, real, real],
        "dropout_mask": [_U64, _U32, _U32, _L, _P, _P],
        "philox_words": [_U64, _U32, _U32, _L, _P],
        "add_noise": [_P, _I, _I, _I, _P, _P, _U64, _U32, _U32, _L, _P, _P, _P],
        "images_in": [_P, _I, _I, _I, _I, _P],
    }


@lru_cache(maxsize=2)
def load_library(real64: bool = False) -> ctypes.CDLL | None:
    """Return the kernels, in float or (tests) in double; None where they cannot be compiled.

    The first call compiles, which takes some ten seconds; later ones, of other processes too, find the result in the
    cache, under a name that holds source, flags, compiler and processor.
    """
    for tuning in _TUNING:
        for folder in _folders():  # one that is full, or whose files must not run, leaves it to the next
            with suppress(OSError, AttributeError, ValueError, BuildError, subprocess.SubprocessError):
                return _cached_or_compiled((*_FLAGS, *tuning, *_DEFINED, *(("-DREAL64",) if real64 else ())), folder, real64)
    return None


def required_kernels(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the library for vectors of ``dtype``, float32 or in tests float64; raises ``BuildError`` without a compiler."""
    if (library := load_library(dtype.itemsize == 8)) is None:
        raise BuildError(
            "--backend native needs a C compiler (cc, gcc, clang or $CC), and there is none that works; install one. "
            "Without one a new dataset can be built with --backend plain, but none of the native backend can be extended"
        )
    return library


def images_in(library: ctypes.CDLL, images: Tensor, out: Tensor) -> None:
    """Write uint8 ``(B, 1 or 3, 32, 32)`` images into ``out`` ``(B, 32, 32, 3)``, floating, in [0, 1]."""
    images = images.contiguous()
    batch, planes, height, width = images.shape
    library.images_in(images.data_ptr(), batch, planes, height * width, int(out.itemsize == 2), out.data_ptr())


def _cached_or_compiled(flags: tuple[str, ...], folder: Path, real64: bool) -> ctypes.CDLL:
    """Return the kernels; raises as :func:`load_library` suppresses where the compiler, its result or the folder fails."""
    compiler, *options = shlex.split(os.environ.get("CC", "")) or list(filter(shutil.which, _COMPILERS))[:1]
    parts = (
        SOURCE.read_bytes(),
        _run(compiler, *options, "--version"),
        " ".join((*options, *flags)).encode(),
        "\n".join(processor(field) or "" for field in _PROCESSOR).encode(),
    )
    path = folder / f"kernels-{hashlib.sha256(bytes(0).join(parts)).hexdigest()[:16]}.so"
    if path.exists():
        return _loaded(path, real64)
    if is_watched():
        say("compiling the kernels of the native CPU path, once: some ten seconds", error=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".compile-") as temporary:
        result = Path(temporary, "kernels.so")
        _run(compiler, *options, *flags, "-o", str(result), str(SOURCE), "-lm")
        library = _loaded(result, real64)
        write_bytes(path, result.read_bytes())
    return library


def _run(*command: str) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout


def _loaded(path: Path, real64: bool) -> ctypes.CDLL:
    """Return a library; raises ``OSError`` or ``AttributeError`` when it is none, or not that of kernels.c."""
    library = ctypes.CDLL(str(path))
    for name, types in _signatures(ctypes.c_double if real64 else ctypes.c_float).items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, ctypes.c_double if name == "cross_entropy" else None
    return library


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
