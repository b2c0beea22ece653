"""A device fleet: the state of many trainings of one architecture and batch size, stepped by a captured CUDA graph.

On the CPU the same step runs as it is: slow, but it is what the tests compare.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.blocks import ACTIVATION_CODES, conv_block
from builders.compute.cards.compute_path import products
from builders.compute.cards.network import DeviceNetwork
from builders.compute.cards.step import Augment, Slots, State, train_step
from builders.images.augmentation import augment
from builders.plan.device_shape import DeviceShape
from builders.recipe.epochs import steps_per_epoch
from builders.recipe.optimizers import FleetOptimizer
from nws_data.space.hyperparameters import HyperParameters

_DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
_WARM_UPS = 3
_MARGIN = 1.5  # of free memory over what a step took: graphs share theirs, but not with others


class DeviceFleet:
    """Weight vectors, optimizer state and inputs of every slot. On a card: on one stream, not the default one.

    Args:
        shape: the members' common shape.
        bank: the images.
        backend: of the conv layers, see :mod:`builders.compute.cards.blocks`.
        precision: one of ``DEVICE_PRECISIONS``, or ``"float64"`` in tests.
        slots: how many; other numbers than the shape's are for tests and measurements.
    """

    def __init__(
        self, shape: DeviceShape, bank: DeviceBank, backend: str, precision: str = "float32", slots: int | None = None
    ) -> None:
        self.shape, self.slots = shape, shape.slots if slots is None else slots
        self._precision, self._bank = precision, bank
        device, dtype = bank.device, torch.float64 if precision == "float64" else torch.float32
        network = DeviceNetwork(shape.architecture, conv_block(backend))
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
        self._step = partial(train_step, self._state, bank, network, _DTYPES[precision], _augmentation(backend))
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

    def load(self, slot: int, vector: Tensor, hyperparameters: HyperParameters, seed: int) -> None:
        """Put a new training into a slot: its initial vector ``(n_weights,)`` and a fresh optimizer state."""
        inputs = self._state.slots
        self._state.vectors[slot] = vector.to(self.vectors.dtype).to(self.vectors.device)
        self._state.optimizer.load(slot, hyperparameters.optimizer)
        inputs.seeds[slot] = seed
        inputs.codes[slot] = ACTIVATION_CODES.index(hyperparameters.activation)
        inputs.augments[slot] = hyperparameters.augmentation
        inputs.steps[slot] = 0
        inputs.active[slot] = 1

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a slot its next epoch.

        Args:
            slot: loaded before.
            rows: of the bank, integer ``(steps, batch)``.
            rates: of every step, float64 ``(steps,)``.
        """
        inputs = self._state.slots
        inputs.rows[slot, : len(rows)] = rows
        inputs.rates[slot, : len(rates)] = rates.to(inputs.rates.dtype).to(inputs.rates.device)
        inputs.cursors[slot] = 0

    def clear(self, slot: int) -> None:
        """Make a slot idle: finite numbers that no step changes much and that touch nobody."""
        inputs = self._state.slots
        for values in (self._state.vectors, self._state.gradients, inputs.rows, inputs.rates):
            values[slot] = 0
        for values in (inputs.seeds, inputs.codes, inputs.augments, inputs.steps, inputs.active, inputs.cursors):
            values[slot] = 0
        self._state.optimizer.load(slot, "momentum")

    def run(self, n_steps: int, augmenting: bool = True) -> None:
        """Enqueue steps of all slots; an active slot must have as many left in its epoch.

        Args:
            n_steps: how many.
            augmenting: False when no active slot augments.
        """
        if self._bank.device.type != "cuda":
            for _ in range(n_steps):
                self._run_once(augmenting)
            return
        for _ in range(n_steps):
            self._graphs[augmenting].replay()

    def _run_once(self, augmenting: bool) -> None:
        with products(self._precision):
            self._step(augmenting)

    def _warm_up(self) -> None:
        """Run the step with idle slots, so that libraries and kernels are loaded before a capture; leave no trace.

        Raises ``torch.OutOfMemoryError`` when the graphs will not fit: in the middle of a capture it could not be caught.
        """
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(_WARM_UPS):
            self._run_once(True)
        needed = torch.cuda.max_memory_allocated() - before
        for slot in range(self.slots):
            self.clear(slot)
        torch.cuda.current_stream().synchronize()
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info()[0]
        if free < _MARGIN * needed:
            raise torch.OutOfMemoryError(f"a step takes {needed:,} bytes, the card has {free:,} free")

    def _capture(self, augmenting: bool) -> None:
        """Capture the step on the current stream, which must not be the default one. Nothing runs."""
        graph = torch.cuda.CUDAGraph()
        # Both graphs of a fleet may share memory: they never run at once and leave nothing behind but the state.
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool, stream=torch.cuda.current_stream()):
            self._run_once(augmenting)
        self._graphs[augmenting] = graph


def _augmentation(backend: str) -> Augment:
    """Return the augmentation: plain tensor operations, or where Triton is in use anyway with one kernel for the draws."""
    if backend != "triton":
        return augment
    from builders.compute.cards.draw import augment_drawn

    return augment_drawn


def _longest_epoch(bank: DeviceBank, batch_size: int) -> int:
    """Return a bound on the steps of an epoch of any set in the bank."""
    return max(1, *(steps_per_epoch(bank.host.labels(name, "train"), batch_size) for name in bank.host.sets))
