"""What a backend is: the interface behind which trainings are computed, and the table of those that there are.

A backend for CPUs is one file with a :class:`Training` and a row of :data:`BACKENDS`. What changes a bit of a result gets
another ``version``, so that no dataset is extended with other bits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from builders.compute.native.library import load_library
from nws_data.errors import BuildError, one_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from builders.images.bank import ImageBank
    from builders.plan.shape import Shape
    from builders.plan.trainings import PlannedTraining
    from nws_data.space.hyperparameters import HyperParameters

DEVICES = ("cpu", "cuda", "auto")
CPU_PRECISIONS = ("float32", "bfloat16")
CARD_PRECISIONS = ("float32", "tf32", "bfloat16")
"""Of products and activations; sums, weights, gradients and batch-norm statistics are float32 in all of them."""


@dataclass(frozen=True)
class Backend:
    """A row of the table."""

    device: str  # "cpu" or "cuda"
    version: str  # of the arithmetic: the first part of the compute paths
    where: str  # module:name of its Training, or of a card's Program


BACKENDS = {
    "native": Backend("cpu", "cpu-native-1", "builders.compute.native.training:NativeTraining"),
    "plain": Backend("cpu", "cpu-plain-1", "builders.compute.plain:PlainTraining"),
    "triton": Backend("cuda", "cuda-fleet-3", "builders.compute.cards.program:Program"),
}
"""By name: C kernels around oneDNN's convolutions; the definition, plain PyTorch; and Triton kernels on cards."""

CPU_BACKENDS = tuple(name for name, row in BACKENDS.items() if row.device == "cpu")


class Training(Protocol):
    """One training at a time of a shape, as a CPU computes it. Made from (shape, precision)."""

    vector: Tensor  # (n_weights,), float32, or float64 in tests

    def load(self, vector: Tensor, hyperparameters: HyperParameters, seed: int) -> None:
        """Start a training: its initial vector ``(n_weights,)`` and a fresh optimizer state."""

    def step(self, images: Tensor, labels: Tensor, step: int, rate: float) -> float:
        """Train on one batch; return the mean cross-entropy before the update.

        Args:
            images: uint8 ``(batch_size, 1 or 3, 32, 32)``; augmented here where the training says so.
            labels: ``(batch_size,)``.
            step: steps taken before.
            rate: the factor of :func:`builders.recipe.optimizers.rate`.
        """

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Return the network in evaluation: logits ``(n, outputs)`` of uint8 images ``(n, 1 or 3, 32, 32)``."""


Scored = dict[str, tuple[str, "Tensor"]]
"""Images that a training is scored on: by learning curve ``"train"`` or ``"test"`` and positions, int64 on the CPU."""


class Fleet(Protocol):
    """Up to ``slots`` trainings of one shape in progress, each a function of its own training alone.

    What a method enqueues may go on after it returns; nothing waits for it. ``ready`` says when it is done.
    """

    slots: int
    device: torch.device
    steps_a_turn: int  # bounds how long a stop waits

    @property
    def ready(self) -> bool:
        """Whether all that was enqueued is done."""

    def turn(self) -> AbstractContextManager[object]:
        """Return the context inside which all other methods are called."""

    def load(self, slot: int, planned: PlannedTraining, vector: Tensor, scored: Scored) -> None:
        """Start a training in a free slot, with its initial vector, float64 ``(n_weights,)`` on the CPU."""

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a loaded slot its next epoch: positions in the training images, int64 ``(steps, batch)`` on ``device``, and
        the rate of every step, float64 ``(steps,)`` on the CPU."""

    def run(self, n_steps: int) -> None:
        """Take steps in all loaded slots, each of which has as many left in its epoch."""

    def evaluate(self, slot: int) -> tuple[Tensor, Tensor]:
        """Return how many images of each part of ``scored`` are classified correctly, int64 ``(parts,)``, and a copy of the
        vector, float32 ``(n_weights,)``: on the CPU, to be read when the fleet is ready."""

    def clear(self, slot: int) -> None:
        """Free a slot."""


@dataclass(frozen=True)
class OpenBackend:
    """A backend with the images of a build, ready to train."""

    bank: ImageBank
    fleet: Callable[[Shape, int, int], Fleet]
    """Makes a fleet, given its number and of how many trainings; no two of one number, less than ``n_fleets``, are in flight
    together."""
    precision: str
    path: str  # compute path
    device: str = "cpu"
    n_fleets: int = 1  # in flight at once, at most


def implementation(name: str) -> Any:
    """Return the Training or Program of a backend; raises ``BuildError`` when its module needs what is not installed."""
    try:
        return resolve_name(BACKENDS[name].where)
    except ImportError as error:
        raise BuildError(
            f"--backend {name} cannot be loaded ({error}): install triton, which torch for CUDA brings along"
        ) from error


def default_backend(device: str) -> str:
    """Return how ``"cpu"`` or ``"cuda"`` computes unless told otherwise: on a CPU natively where the kernels compile."""
    if device != "cpu":
        return "triton"
    return "plain" if load_library() is None else "native"


def check_arithmetic(device: str, backend: str, precision: str) -> None:
    """Raise ``BuildError`` unless trainings on the device (``"cpu"`` or ``"cuda"``) can have these."""
    precisions = CPU_PRECISIONS if device == "cpu" else CARD_PRECISIONS
    if precision not in precisions:
        hint = "; tf32 needs --device cuda" if precision == "tf32" else ""
        raise BuildError(f"--precision on {device}: {one_of(precision, precisions)}{hint}")
    backends = [name for name, row in BACKENDS.items() if row.device == device]
    if backend not in backends:
        raise BuildError(f"--backend on {device}: {one_of(backend, backends)}")


def compute_dtype(precision: str) -> torch.dtype:
    """Return the dtype of activations and products."""
    import torch

    dtype: torch.dtype = getattr(torch, "float32" if precision == "tf32" else precision)
    return dtype


def vector_dtype(precision: str) -> torch.dtype:
    """Return the dtype of weights, gradients and statistics: float32, or float64 for ``"float64"``."""
    import torch

    return torch.float64 if precision == "float64" else torch.float32
