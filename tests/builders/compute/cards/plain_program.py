"""What a fleet's program does, slot by slot in plain PyTorch: for whole trainings on a CPU, where Triton takes too long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from builders.compute.backend import BACKENDS, Backend
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.state import State
from builders.compute.plain import PlainTraining
from builders.plan.shape import Shape
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES


def use_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the backend ``slots``; ``kernels/test_program.py`` says that Triton computes the same."""
    monkeypatch.setitem(BACKENDS, "slots", Backend("cuda", "cuda-fleet-3", f"{__name__}:PlainProgram"))


class PlainProgram:
    """See :class:`builders.compute.cards.program.Program`; tensors without values are left alone."""

    def __init__(
        self,
        architecture: Architecture,
        state: State,
        bank: DeviceBank,
        dtype: torch.dtype,
        precision: str,
        correct: Tensor | None = None,
    ) -> None:
        self.shape, self.state, self.bank, self.correct = Shape(architecture, state.rows.shape[2]), state, bank, correct
        self.training = PlainTraining(self.shape, str(dtype).removeprefix("torch."), state.vectors.device)

    def run(self) -> None:
        slots = self.state.slots
        for slot, fields in enumerate(slots.tolist() if slots.device.type != "meta" else []):
            if fields[3]:
                self._run(slot, *fields)
        slots[:, 1:3] += slots[:, 3:4]

    def _run(self, slot: int, seed: int, step: int, cursor: int, active: int, code: int, augments: int) -> None:
        state, training, own = self.state, self.training, slice(slot, slot + 1)
        images, labels = self.bank.gather(state.rows[slot, cursor])
        training.vector = state.vectors[slot]
        training._hyperparameters = SimpleNamespace(activation=CLASSES["activation"][code], augmentation=bool(augments))
        if self.correct is not None:
            n = len(labels)
            self.correct[cursor * n : (cursor + 1) * n] = training.scorer()(images).argmax(1) == labels
            return
        training._seed = seed
        for name, values in (("m", state.optimizer.m[own]), ("v", state.optimizer.v[own])):
            setattr(training._optimizer, name, values)
        training._optimizer.columns = state.optimizer.columns[:, own]
        state.losses[slot] = training.step(images, labels, step, state.rates[slot, cursor].item())
