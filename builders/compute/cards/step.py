"""One training step of a device fleet: from row numbers to updated weights without a value that the host must see.

All inputs are static tensors, so the step can be captured once and replayed as a CUDA graph: what differs from step to
step follows from each slot's cursor and step count, which the step itself moves on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.network import DeviceNetwork
from builders.recipe.augmentation import to_float
from builders.recipe.dropout import dropout_mask
from builders.recipe.optimizers import FleetOptimizer


@dataclass(frozen=True)
class Slots:
    """What differs from slot to slot, as static tensors on the device.

    An idle slot has ``active`` 0 and rates 0: it computes on the first image, and its weights, all zero, stay so.
    """

    seeds: Tensor  # int64 (slots,): of the trainings
    codes: Tensor  # int32 (slots,): activations
    augments: Tensor  # bool (slots,)
    active: Tensor  # int64 (slots,): 1, or 0 for an idle slot
    steps: Tensor  # int64 (slots,): taken before
    cursors: Tensor  # int64 (slots,): the step's place in the epoch
    rows: Tensor  # int32 (slots, longest epoch, batch): of the bank
    rates: Tensor  # (slots, longest epoch) in the weights' dtype
    first: Tensor  # int64 (slots,): where a slot's epoch starts in rows and rates, both seen as one list

    @classmethod
    def empty(cls, slots: int, longest_epoch: int, batch_size: int, dtype: torch.dtype, device: torch.device) -> Slots:
        """Return idle slots."""

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            seeds=zeros(slots),
            codes=zeros(slots, dtype=torch.int32),
            augments=zeros(slots, dtype=torch.bool),
            active=zeros(slots),
            steps=zeros(slots),
            cursors=zeros(slots),
            rows=zeros(slots, longest_epoch, batch_size, dtype=torch.int32),
            rates=zeros(slots, longest_epoch, dtype=dtype),
            first=torch.arange(slots, device=device) * longest_epoch,
        )


@dataclass(frozen=True)
class State:
    """Everything that a step reads and writes."""

    slots: Slots
    vectors: Tensor  # (slots, n_weights)
    gradients: Tensor  # (slots, n_weights); zero where a value is no parameter
    losses: Tensor  # (slots,): mean cross-entropy before the last update
    optimizer: FleetOptimizer


def train_step(state: State, bank: DeviceBank, network: DeviceNetwork, dtype: torch.dtype, augmenting: bool) -> None:
    """Train every slot on its next batch.

    Args:
        state: is changed in place.
        bank: the images.
        network: the members' network.
        dtype: of products and activations.
        augmenting: False promises that no slot augments, and saves the work.
    """
    slots = state.slots
    members, _, batch_size = slots.rows.shape
    place = slots.first + slots.cursors
    raw, labels = bank.gather(slots.rows.flatten(0, 1).index_select(0, place).flatten())
    images = _images(raw, slots, augmenting).unflatten(0, (members, batch_size)).permute(0, 1, 3, 4, 2)
    keep = dropout_mask(slots.seeds, slots.steps, batch_size, network.n_dropout)
    losses = network.gradients(
        state.vectors, images.to(dtype).contiguous(), labels.view(members, batch_size), keep, slots.codes, state.gradients
    )
    state.losses.copy_(losses)
    state.optimizer.update(state.vectors, state.gradients, slots.rates.flatten().index_select(0, place).unsqueeze(1))
    slots.cursors.add_(slots.active)
    slots.steps.add_(slots.active)


def _images(raw: Tensor, slots: Slots, augmenting: bool) -> Tensor:
    """Return float images ``(slots * batch, 3, 32, 32)``, augmented where the slot says so."""
    plain = to_float(raw)
    if not augmenting:
        return plain
    from builders.compute.cards.draw import augment_drawn  # it needs triton

    wanted = slots.augments[:, None].expand(-1, len(raw) // len(slots.augments)).reshape(-1, 1, 1, 1)
    return torch.where(wanted, augment_drawn(raw, slots.seeds, slots.steps), plain)
