"""A device fleet: the state of many trainings of one architecture and batch size, stepped by a captured CUDA graph.

On the CPU the same step runs as it is: slow, but it is what the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from builders.compute.backend import Scored, compute_dtype, implementation, vector_dtype
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import products
from builders.compute.cards.network import DeviceNetwork
from builders.compute.cards.step import Slots, State, train_step
from builders.compute.evaluation import FoldedNetwork, n_correct
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.constants import ACTIVATION_CODES
from builders.recipe.epochs import steps_per_epoch
from builders.recipe.optimizers import FleetOptimizer
from nws_data.space.architecture import Architecture

_STEPS_A_TURN = 128  # keeps a card busy while the host serves other fleets
_WARM_UPS = 3
_CHUNK, _CHUNK_CPU = 4096, 128  # images of a forward pass of an evaluation


class DeviceFleet:
    """Weight vectors, optimizer state and inputs of every slot, see :class:`builders.compute.backend.Fleet`.

    Args:
        shape: the members' common shape.
        bank: the images.
        backend: of the conv layers.
        precision: one of ``CARD_PRECISIONS``, or ``"float64"`` in tests.
        slots: how many; other numbers than the shape's are for tests and measurements.
        stream: for everything that the fleet does on a card, not the default one; make it inside, too. None on the CPU.
    """

    def __init__(
        self,
        shape: Shape,
        bank: DeviceBank,
        backend: str,
        precision: str,
        slots: int | None = None,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        self.slots, self.steps_a_turn = shape.card_slots if slots is None else slots, _STEPS_A_TURN
        self.device, self._precision, self._bank = bank.device, precision, bank
        self._stream, self._event = stream, torch.cuda.Event() if stream is not None else None
        self._loaded: dict[int, tuple[PlannedTraining, list[Tensor]]] = {}  # and the rows of its scored images
        device, dtype = bank.device, vector_dtype(precision)
        network = DeviceNetwork(shape.architecture, implementation(backend))
        n = network.n_weights
        self._state = State(
            Slots.empty(self.slots, _longest_epoch(bank, shape.batch_size), shape.batch_size, dtype, device),
            vectors=torch.zeros(self.slots, n, dtype=dtype, device=device),
            gradients=torch.zeros(self.slots, n, dtype=dtype, device=device),
            losses=torch.zeros(self.slots, dtype=dtype, device=device),
            optimizer=FleetOptimizer(self.slots, n, dtype, device),
        )
        for slot in range(self.slots):
            self.clear(slot)
        self._step = partial(train_step, self._state, bank, network, compute_dtype(precision))
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        if device.type == "cuda":
            self._warm_up()
            for augmenting in (True, False):
                self._capture(augmenting)

    @property
    def vectors(self) -> Tensor:
        """Weight vectors ``(slots, n_weights)``."""
        return self._state.vectors

    @property
    def losses(self) -> Tensor:
        """Each slot's mean cross-entropy in the last step, before its update, ``(slots,)``."""
        return self._state.losses

    @property
    def ready(self) -> bool:
        """Whether the card has done all that was enqueued."""
        return self._event is None or self._event.query()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """On the fleet's stream."""
        with on_stream(self._stream):
            yield
            if self._event is not None:
                self._event.record()

    def load(self, slot: int, planned: PlannedTraining, vector: Tensor, scored: Scored) -> None:
        """Start a training in a free slot."""
        inputs, hyperparameters = self._state.slots, planned.hyperparameters
        rows = [positions + self._bank.first_row(hyperparameters.dataset, part) for part, positions in scored.values()]
        self._loaded[slot] = planned, [part.to(self.device) for part in rows]
        self._state.vectors[slot] = vector.to(self.vectors.dtype).to(self.vectors.device)
        self._state.optimizer.load(slot, hyperparameters.optimizer)
        inputs.seeds[slot] = planned.seed
        inputs.codes[slot] = ACTIVATION_CODES[hyperparameters.activation]
        inputs.augments[slot] = hyperparameters.augmentation
        inputs.steps[slot] = 0
        inputs.active[slot] = 1

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a slot its next epoch."""
        inputs, (planned, _) = self._state.slots, self._loaded[slot]
        inputs.rows[slot, : len(rows)] = rows + self._bank.first_row(planned.hyperparameters.dataset, "train")
        inputs.rates[slot, : len(rates)] = rates.to(inputs.rates.dtype).to(inputs.rates.device)
        inputs.cursors[slot] = 0

    def clear(self, slot: int) -> None:
        """Make a slot idle: finite numbers that no step changes much and that no other slot reads."""
        self._loaded.pop(slot, None)
        inputs = self._state.slots
        for values in (self._state.vectors, self._state.gradients, inputs.rows, inputs.rates):
            values[slot] = 0
        for values in (inputs.seeds, inputs.codes, inputs.augments, inputs.steps, inputs.active, inputs.cursors):
            values[slot] = 0
        self._state.optimizer.load(slot, "momentum")

    def run(self, n_steps: int) -> None:
        """Enqueue steps of all slots; the augmentation is left out when no training has it."""
        augmenting = any(planned.hyperparameters.augmentation for planned, _ in self._loaded.values())
        if self.device.type != "cuda":
            for _ in range(n_steps):
                self._run_once(augmenting)
            return
        for _ in range(n_steps):
            self._graphs[augmenting].replay()

    def evaluate(self, slot: int) -> tuple[Tensor, Tensor]:
        """Enqueue the counts of correctly classified images and a copy of the vector, both to the host."""
        planned, rows = self._loaded[slot]
        hyperparameters, chunk = planned.hyperparameters, _CHUNK if self.device.type == "cuda" else _CHUNK_CPU
        with torch.no_grad():  # in float32 whatever the precision of training, as on the CPU path
            network = FoldedNetwork(self.vectors[slot], Architecture.of(hyperparameters), hyperparameters.activation)
            counts = [n_correct(network.logits, map(self._bank.gather, part.split(chunk))) for part in rows]
        return _to_host(torch.stack(counts)), _to_host(self.vectors[slot].float())

    def _run_once(self, augmenting: bool) -> None:
        with products(self._precision):
            self._step(augmenting)

    def _warm_up(self) -> None:
        """Run the step with idle slots, so that libraries and kernels are loaded before a capture; leave no trace."""
        for _ in range(_WARM_UPS):
            self._run_once(True)
        for slot in range(self.slots):
            self.clear(slot)
        torch.cuda.current_stream().synchronize()

    def _capture(self, augmenting: bool) -> None:
        """Capture the step on the current stream, which must not be the default one. Nothing runs."""
        graph = torch.cuda.CUDAGraph()
        # Both graphs of a fleet may share memory: they never run at once and leave nothing behind but the state.
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
            self._run_once(augmenting)
        self._graphs[augmenting] = graph


def on_stream(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Return the context of a stream; of none, nothing."""
    return torch.cuda.stream(stream) if stream is not None else nullcontext()


def _to_host(tensor: Tensor) -> Tensor:
    """Copy to pinned memory without waiting; from the CPU at once."""
    if tensor.device.type != "cuda":
        return tensor.clone()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def _longest_epoch(bank: DeviceBank, batch_size: int) -> int:
    """Return a bound on the steps of an epoch of any set in the bank."""
    return max(1, *(steps_per_epoch(bank.host.labels(name, "train"), batch_size) for name in bank.host.sets))
