"""Where trainings are computed: on the CPU or on CUDA cards, and the name of the compute path there."""

from __future__ import annotations

from builders.compute.cards.blocks import BACKENDS, DEVICE_PRECISIONS
from builders.compute.compute_path import CPU_BACKENDS, PRECISIONS, compute_path, cpu_backend_of, default_cpu_backend
from nws_data.errors import BuildError, one_of

DEVICES = ("cpu", "cuda", "auto")
ALL_PRECISIONS = tuple(dict.fromkeys((*PRECISIONS, *DEVICE_PRECISIONS)))
ALL_BACKENDS = (*CPU_BACKENDS, *BACKENDS)

_DEVICE_BACKEND = "triton"  # needs triton beside torch; grouped is there without it


def default_backend(device: str) -> str:
    """Return how ``"cpu"`` or ``"cuda"`` computes unless told otherwise."""
    return default_cpu_backend() if device == "cpu" else _DEVICE_BACKEND


def resolve_device(name: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for one of :data:`DEVICES`; raises ``BuildError`` when there is no card for cuda."""
    if name not in DEVICES:
        raise BuildError(f"--device: {one_of(name, DEVICES)}")
    import torch

    from builders.compute.cards.compute_path import find_device

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    find_device(name)
    return name


def check_arithmetic(device: str, backend: str, precision: str) -> None:
    """Raise ``BuildError`` unless trainings on the device (``"cpu"`` or ``"cuda"``) can have these."""
    precisions = PRECISIONS if device == "cpu" else DEVICE_PRECISIONS
    if precision not in precisions:
        hint = "; tf32 needs --device cuda" if precision == "tf32" else ""
        raise BuildError(f"--precision on {device}: {one_of(precision, precisions)}{hint}")
    backends = CPU_BACKENDS if device == "cpu" else BACKENDS
    if backend not in backends:
        raise BuildError(f"--backend on {device}: {one_of(backend, backends)}")


def path_of(device: str, backend: str, precision: str) -> str:
    """Return the compute path of this process on ``"cpu"`` or ``"cuda"``; raises ``BuildError`` without such a card."""
    from builders.compute.cards.compute_path import device_compute_path, find_device

    return compute_path(backend) if device == "cpu" else device_compute_path(find_device(device), backend, precision)


def device_of(path: str) -> tuple[str, str]:
    """Return device and backend of a recorded compute path: what to ask for to compute in the same way."""
    from builders.compute.cards.compute_path import backend_of

    backend = backend_of(path)
    return ("cpu", cpu_backend_of(path) or default_cpu_backend()) if backend is None else ("cuda", backend)


def local_cards() -> list[str]:
    """Return the names of this machine's cards: ``["cuda:0", ...]``."""
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
