"""How trainings are computed: what has to be equal for two builds to give the same bits, and its name."""

from __future__ import annotations

from builders.compute.backend import BACKENDS, CPU_BACKENDS, DEVICES
from builders.compute.native.library import required_kernels
from nws_data.errors import BuildError, one_of
from nws_data.machine import keep_freed_memory, processor

INTEL = "GenuineIntel"


def enter_compute_path() -> None:
    """Set this process up: one thread, so that sums have one order, and denormals as zeros, since they are slow."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def path_of(backend: str, precision: str) -> str:
    """Return the compute path of this process: version of the arithmetic, and what computes; raises ``BuildError``."""
    if backend not in CPU_BACKENDS:
        from builders.compute.cards.card import card_path, find_device

        return card_path(find_device("cuda"), backend, precision)
    import torch

    if backend == "native":
        required_kernels(torch.float32)
    bf16 = "+bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    # MKL takes other kernels on another maker's processor; Intel goes without a name, as in datasets of earlier versions.
    maker = processor("vendor_id") or processor("CPU implementer") or INTEL  # the second on ARM
    other = "" if maker == INTEL else f"+{maker}"
    return f"{BACKENDS[backend].version}/{torch.backends.cpu.get_cpu_capability()}{bf16}{other}"


def backend_of(path: str) -> str | None:
    """Return the backend of a recorded compute path; None of one that this version does not compute."""
    version, *rest = path.split("/")
    for name, row in BACKENDS.items():
        if row.version == version and (row.device == "cpu" or rest[:1] == [name]):
            return name
    return None


def resolve_device(name: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for one of :data:`DEVICES`; raises ``BuildError`` when there is no card for cuda."""
    if name not in DEVICES:
        raise BuildError(f"--device: {one_of(name, DEVICES)}")
    import torch

    from builders.compute.cards.card import find_device

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    find_device(name)
    return name
