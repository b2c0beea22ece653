"""A device fleet: the state of many trainings of one architecture and batch size, stepped by a captured CUDA graph.

All inputs of a step are static tensors: what differs from step to step follows from each slot's cursor and step count, which
the step itself moves on, so no value of it has to be seen by the host. On the CPU the same step runs as it is: slow, but
it is what the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from builders.compute.backend import Scored, compute_dtype, implementation, vector_dtype
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.compute_path import products
from builders.compute.cards.network import DeviceNetwork
from builders.compute.evaluation import FoldedNetwork, n_correct
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import to_float
from builders.recipe.constants import ACTIVATION_CODES
from builders.recipe.epochs import steps_per_epoch
from builders.recipe.optimizers import FleetOptimizer
from nws_data.space.architecture import Architecture

_STEPS_A_TURN = 128  # keeps a card busy while the host serves other fleets
_WARM_UPS = 3
_CHUNK, _CHUNK_CPU = 4096, 128  # images of a forward pass of an evaluation


class DeviceFleet:
    """Weight vectors, optimizer state and inputs of every slot, see :class:`builders.compute.backend.Fleet`.

    Everything that it does on a card goes to ``stream``, not the default one; make it inside, too. None on the CPU.
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
        dtype, self._dtype, size = vector_dtype(precision), compute_dtype(precision), self.slots
        self._network = DeviceNetwork(shape.architecture, implementation(backend))
        n, longest = self._network.n_weights, _longest_epoch(bank, shape.batch_size)

        def zeros(*sizes: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(sizes, dtype=dtype, device=bank.device)

        self.vectors, self._gradients = (zeros(size, n, dtype=dtype) for _ in range(2))  # gradients: 0 for no parameter
        self.losses = zeros(size, dtype=dtype)  # mean cross-entropy before the last update
        self._optimizer = FleetOptimizer(size, n, dtype, bank.device)
        # Of each slot: the training's seed, steps taken, the place in the epoch; 1, or 0 for an idle slot, which computes on
        # the first image with rates 0, and its weights, all zero, stay so.
        self._seeds, self._steps, self._cursors, self._active = (zeros(size) for _ in range(4))
        self._codes, self._augments = zeros(size, dtype=torch.int32), zeros(size, dtype=torch.bool)
        self._rows = zeros(size, longest, shape.batch_size, dtype=torch.int32)  # of the bank
        self._rates = zeros(size, longest, dtype=dtype)
        self._first = torch.arange(size, device=bank.device) * longest  # where a slot's epoch starts in rows and rates
        for slot in range(size):
            self.clear(slot)
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        if bank.device.type == "cuda":
            self._warm_up()
            for augmenting in (True, False):
                self._capture(augmenting)

    @property
    def moments(self) -> Tensor:
        """First moments of the optimizer ``(slots, n_weights)``."""
        return self._optimizer.m

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
        hyperparameters = planned.hyperparameters
        rows = [positions + self._bank.first_row(hyperparameters.dataset, part) for part, positions in scored.values()]
        self._loaded[slot] = planned, [part.to(self.device) for part in rows]
        self.vectors[slot] = vector.to(self.vectors.dtype).to(self.device)
        self._optimizer.load(slot, hyperparameters.optimizer)
        self._seeds[slot] = planned.seed
        self._codes[slot] = ACTIVATION_CODES[hyperparameters.activation]
        self._augments[slot] = hyperparameters.augmentation
        self._steps[slot] = 0
        self._active[slot] = 1

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a slot its next epoch."""
        planned, _ = self._loaded[slot]
        self._rows[slot, : len(rows)] = rows + self._bank.first_row(planned.hyperparameters.dataset, "train")
        self._rates[slot, : len(rates)] = rates.to(self._rates.dtype).to(self.device)
        self._cursors[slot] = 0

    def clear(self, slot: int) -> None:
        """Make a slot idle: finite numbers that no step changes much and that no other slot reads."""
        self._loaded.pop(slot, None)
        for values in (self.vectors, self._gradients, self._rows, self._rates):
            values[slot] = 0
        for values in (self._seeds, self._codes, self._augments, self._steps, self._active, self._cursors):
            values[slot] = 0
        self._optimizer.load(slot, "momentum")

    def run(self, n_steps: int) -> None:
        """Enqueue steps of all slots; the augmentation is left out when no training has it."""
        augmenting = any(planned.hyperparameters.augmentation for planned, _ in self._loaded.values())
        if self.device.type != "cuda":
            for _ in range(n_steps):
                self.run_once(augmenting)
            return
        for _ in range(n_steps):
            self._graphs[augmenting].replay()

    def rewind(self) -> None:
        """Start the epochs of all slots again: for measurements."""
        self._cursors.zero_()

    def scored(self, slot: int) -> list[Tensor]:
        """Return the rows of the images that a slot is scored on, by part."""
        return self._loaded[slot][1]

    def evaluate(self, slot: int) -> tuple[Tensor, Tensor]:
        """Enqueue the counts of correctly classified images and a copy of the vector, both to the host."""
        planned, rows = self._loaded[slot]
        hyperparameters, chunk = planned.hyperparameters, _CHUNK if self.device.type == "cuda" else _CHUNK_CPU
        with torch.no_grad():  # in float32 whatever the precision of training, as on the CPU path
            network = FoldedNetwork(self.vectors[slot], Architecture.of(hyperparameters), hyperparameters.activation)
            counts = [n_correct(network.logits, map(self._bank.gather, part.split(chunk))) for part in rows]
        return _to_host(torch.stack(counts)), _to_host(self.vectors[slot].float())

    def run_once(self, augmenting: bool) -> None:
        """Train every slot on its next batch; ``augmenting`` False promises that no slot augments, and saves the work."""
        from builders.compute.cards.draw import draw_mask  # they need triton
        from builders.compute.cards.update import update

        with products(self._precision):
            place = self._first + self._cursors
            rows = self._rows.flatten(0, 1).index_select(0, place)
            raw, labels = self._bank.gather(rows.flatten())
            images = self._images(raw, augmenting).unflatten(0, rows.shape).permute(0, 1, 3, 4, 2)
            keep = draw_mask(self._seeds, self._steps, rows.shape[1], self._network.n_dropout)
            inputs = images.to(self._dtype).contiguous(), labels.view(rows.shape), keep, self._codes
            self.losses.copy_(self._network.gradients(self.vectors, *inputs, self._gradients))
            rates = self._rates.flatten().index_select(0, place).unsqueeze(1)
            update(self._optimizer, self.vectors, self._gradients, rates)
            self._cursors.add_(self._active)
            self._steps.add_(self._active)

    def _images(self, raw: Tensor, augmenting: bool) -> Tensor:
        """Return float images ``(slots * batch, 3, 32, 32)``, augmented where the slot says so."""
        plain = to_float(raw)
        if not augmenting:
            return plain
        from builders.compute.cards.draw import augment_drawn  # it needs triton

        wanted = self._augments[:, None].expand(-1, len(raw) // self.slots).reshape(-1, 1, 1, 1)
        return torch.where(wanted, augment_drawn(raw, self._seeds, self._steps), plain)

    def _warm_up(self) -> None:
        """Run the step with idle slots, so that libraries and kernels are loaded before a capture; leave no trace."""
        for _ in range(_WARM_UPS):
            self.run_once(True)
        for slot in range(self.slots):
            self.clear(slot)
        torch.cuda.current_stream().synchronize()

    def _capture(self, augmenting: bool) -> None:
        """Capture the step on the current stream, which must not be the default one. Nothing runs."""
        graph = torch.cuda.CUDAGraph()
        # Both graphs of a fleet may share memory: they never run at once and leave nothing behind but the state.
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
            self.run_once(augmenting)
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
