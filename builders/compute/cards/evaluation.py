"""Clean evaluation of a member on the device: the counts stay there until the host has time to read them.

In float32 whatever the precision of training, with batch norm folded into the kernels, as on the CPU path.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.evaluation import FoldedNetwork, n_correct
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters

_CHUNK = 4096  # images a forward pass on a card
_CHUNK_CPU = 128


@torch.no_grad()
def correct_counts(vector: Tensor, hyperparameters: HyperParameters, bank: DeviceBank, parts: Iterable[Tensor]) -> Tensor:
    """Return how many images of each part have their label as the largest output, int64 ``(parts,)`` on the device.

    Args:
        vector: ``(n_weights,)`` on the device.
        hyperparameters: the training's.
        bank: the images.
        parts: rows of the bank, int64 on the device.
    """
    network = FoldedNetwork(vector, Architecture.of(hyperparameters), hyperparameters.activation)
    chunk = _CHUNK if bank.device.type == "cuda" else _CHUNK_CPU
    return torch.stack([n_correct(network.logits, map(bank.gather, rows.split(chunk))) for rows in parts])
