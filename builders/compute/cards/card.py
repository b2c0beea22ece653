"""Opens a card for a job: settings for bits that repeat, the compute path's name, images, streams for fleets."""

from __future__ import annotations

import os

import torch
from torch.utils import deterministic

from builders.compute.backend import BACKENDS, OpenBackend
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet, on_stream
from builders.compute.cards.self_check import MADE_UP, check_fleet
from builders.images.bank import ImageBank
from builders.plan.shape import Shape
from nws_data.errors import BuildError

MAX_FLEETS = 8


def find_device(name: str) -> torch.device:
    """Return ``cuda`` (or ``cuda:1``, ...) or ``cpu``; raises ``BuildError`` when this process has no such device."""
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA card or driver"
        raise BuildError(f"--device {name}: {why}; `nvidia-smi` shows the cards. Give --device cpu to build without one")
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise BuildError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
    return torch.device("cuda", index)


def enter_device_path(device: torch.device) -> None:
    """Set this process up, before its first CUDA call: deterministic algorithms alone, float32 products in float32.

    The Triton kernels have a fixed order of summation already; PyTorch, which draws the epochs, raises an error if an
    operation without one slips in.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for the plain backend of the self-check
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # streams of the fleets must not share a queue
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda":
        torch.cuda.set_device(device)


def card_path(device: torch.device, backend: str, precision: str) -> str:
    """Return the path's name, such as ``cuda-fleet-3/triton/NVIDIA-H100-80GB-HBM3/bfloat16``: version of the arithmetic,
    conv backend, card, precision. The version of CUDA is part of torch's, recorded beside it."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return "/".join((BACKENDS[backend].version, backend, "-".join(card.replace("/", " ").split()), precision))


def open_card(
    backend: str, bank: ImageBank, precision: str, device_name: str, most: int | None = None, n_fleets: int = MAX_FLEETS
) -> OpenBackend:
    """Set this process and a card up, ``"cuda"``, ``"cuda:1"``, ...; raises ``BuildError`` when there is none.

    Before a card trains anything of an architecture, or of a batch size, a step is compared with the plain backend's, see
    ``self_check.py``.

    In tests the device can be ``"cpu"`` and the precision ``"float64"``; at ``most`` so many slots of a fleet are
    for tests and measurements, normally the shape decides.
    """
    device = find_device(device_name)
    enter_device_path(device)
    on_card = DeviceBank(bank, device)
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(n_fleets)]

    checked: set[object] = set()  # architectures and batch sizes

    def fleet(shape: Shape, number: int, n_trainings: int) -> DeviceFleet:
        slots = min(max(n_trainings, MADE_UP), most or shape.card_slots)
        with on_stream(streams[number]):
            made = DeviceFleet(shape, on_card, backend, precision, slots, streams[number])
            if device.type == "cuda" and not checked >= {shape.architecture, shape.batch_size}:
                check_fleet(made, shape, on_card, precision)
                checked.update((shape.architecture, shape.batch_size))
            return made

    return OpenBackend(bank, fleet, precision, card_path(device, backend, precision), str(device), n_fleets)
