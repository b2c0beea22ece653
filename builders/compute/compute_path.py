"""How trainings are computed: what has to be equal for two builds to give the same bits."""

from __future__ import annotations

from builders.compute.native.library import load_library
from nws_data.errors import BuildError, one_of
from nws_data.machine import keep_freed_memory

PRECISIONS = ("float32", "bfloat16")

CPU_BACKENDS = ("native", "portable")
"""How a CPU trains: kernels in C around oneDNN's convolutions (needs a C compiler), or PyTorch alone."""

_VERSIONS = {"native": "cpu-native-1", "portable": "cpu-fleet-2"}


def enter_compute_path() -> None:
    """Set this process up: one thread, so that sums have one order, and denormals as zeros, since they are slow."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def default_cpu_backend() -> str:
    """Return ``"native"`` where the kernels compile, else ``"portable"``."""
    return "portable" if load_library() is None else "native"


def compute_path(backend: str | None = None) -> str:
    """Return the name of a path of this machine's CPU: version of the arithmetic and the processor's vector units.

    Args:
        backend: one of :data:`CPU_BACKENDS`; None takes :func:`default_cpu_backend`.

    Raises:
        BuildError: another backend, or one that needs a compiler where there is none.
    """
    backend = backend or default_cpu_backend()
    if backend not in CPU_BACKENDS:
        raise BuildError(f"--backend on cpu: {one_of(backend, CPU_BACKENDS)}")
    if backend == "native" and load_library() is None:
        raise BuildError(
            "--backend native needs a C compiler (cc, gcc, clang or $CC), and there is none that works; install one. "
            "Without one a new dataset can be built with --backend portable, but none of the native backend goes on"
        )
    import torch

    bf16 = "+bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"{_VERSIONS[backend]}/{torch.backends.cpu.get_cpu_capability()}{bf16}"


def cpu_backend_of(path: str) -> str | None:
    """Return the backend of a recorded path of a CPU; None of other paths, such as a card's."""
    return next((name for name, version in _VERSIONS.items() if path.split("/")[0] == version), None)
