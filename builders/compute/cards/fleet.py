"""A device fleet: many trainings of one architecture and batch size, stepped and scored by captured CUDA graphs.

What differs from step to step follows from each slot's cursor and step count, which the step itself moves on, so no value of
it has to be seen by the host. On the CPU the same launches run one by one: slow, but it is what the tests compare.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from builders.compute.backend import Scored, compute_dtype, implementation, vector_dtype
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.state import State, to_device
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.epochs import steps_per_epoch

_STEPS_A_TURN = 8  # keeps a card busy while the host serves other fleets
_CHUNK, _CHUNK_CPU = 2048, 32  # images that are scored at once
PRODUCTS = {"bfloat16": "tf32", "tf32": "tf32", "float32": "ieee", "float64": "ieee"}
"""Of float32 in a step, by precision, as Triton calls it."""
SCORING = "tf32x3"
"""Networks are scored with float32 products as nearly as matrix units can, whatever the precision of training."""


class DeviceFleet:
    """Slots of trainings, see :class:`builders.compute.backend.Fleet`.

    Everything that it does on a card goes to ``stream``, not the default one; make it inside, too. None on the CPU.
    """

    def __init__(
        self,
        shape: Shape,
        bank: DeviceBank,
        backend: str,
        precision: str,
        slots: int,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        self.slots, self.steps_a_turn = slots, _STEPS_A_TURN
        self.device, self._bank = bank.device, bank
        self._stream, self._event = stream, torch.cuda.Event() if stream is not None else None
        self._loaded: dict[int, tuple[PlannedTraining, list[Tensor]]] = {}  # and the rows of its scored images
        program, n, dtype = implementation(backend), shape.architecture.n_weights, vector_dtype(precision)
        sets = bank.host.sets
        longest = max(1, *(steps_per_epoch(bank.host.labels(name, "train"), shape.batch_size) for name in sets))
        self.state = State((self.slots, n, longest, shape.batch_size), dtype, bank.device)
        self.vectors = self.state.vectors  # (slots, n_weights)
        # One network and all images that it is scored on.
        chunk = _CHUNK if bank.device.type == "cuda" else _CHUNK_CPU
        n_chunks = -(-max(item.n_train + item.n_test for item in sets.values()) // chunk)
        self._scoring = State((1, n, n_chunks, chunk), dtype, bank.device)
        # Of the network scored last: 1 where an image is classified correctly, in the order of its rows.
        self.correct = torch.zeros(n_chunks * chunk, dtype=torch.uint8, device=bank.device)
        self.program = program(shape.architecture, self.state, bank, compute_dtype(precision), PRODUCTS[precision])
        score = program(shape.architecture, self._scoring, bank, dtype, SCORING, self.correct)
        self._step, self._score = self._captured(self.program.run), self._captured(score.run)

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
        dataset = planned.hyperparameters.dataset
        rows = [positions + self._bank.first_row[dataset, part] for part, positions in scored.values()]
        self._loaded[slot] = planned, [to_device(part.to(torch.int32), self.device) for part in rows]
        self.state.load(slot, planned, vector)

    def set_epoch(self, slot: int, rows: Tensor, rates: Tensor) -> None:
        """Give a slot its next epoch."""
        planned, _ = self._loaded[slot]
        self.state.set_epoch(slot, rows + self._bank.first_row[planned.hyperparameters.dataset, "train"], rates)

    def clear(self, slot: int) -> None:
        """Make a slot idle."""
        self._loaded.pop(slot, None)
        self.state.clear(slot)

    def run(self, n_steps: int) -> None:
        """Enqueue steps of all slots."""
        for _ in range(n_steps):
            self._step()

    def scored(self, slot: int) -> list[Tensor]:
        """Return the rows of the images that a slot is scored on, by part."""
        return self._loaded[slot][1]

    def evaluate(self, slot: int) -> tuple[Tensor, Tensor]:
        """Enqueue the counts of correctly classified images and a copy of the vector, both to the host."""
        parts, scoring = self.scored(slot), self._scoring
        rows = torch.cat(parts)
        scoring.vectors[0] = self.state.vectors[slot]
        scoring.slots[0] = self.state.slots[slot]
        scoring.rewind()
        scoring.rows.view(-1)[: len(rows)] = rows
        for _ in range(-(-len(rows) // scoring.rows.shape[2])):
            self._score()
        counts = [part.sum() for part in self.correct[: len(rows)].split([len(part) for part in parts])]
        return _to_host(torch.stack(counts)), _to_host(scoring.vectors[0].float())

    def _captured(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return some work as a graph, where there is a card: warmed up with idle slots, so that its kernels are there.

        The current stream must not be the default one. Nothing else of this process waits for it.
        """
        if self.device.type != "cuda":
            return work
        work()
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # what is freed while capturing would be part of it
        gc.disable()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            work()
        finally:
            gc.enable()
            graph.capture_end()
        return graph.replay


def on_stream(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Return the context of a stream; of none, nothing."""
    return torch.cuda.stream(stream) if stream is not None else nullcontext()


def _to_host(tensor: Tensor) -> Tensor:
    """Copy to pinned memory without waiting; from the CPU at once."""
    if tensor.device.type != "cuda":
        return tensor.clone()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
