"""Clean evaluation of a member on the device: the counts stay there until the host has time to read them.

In float32 whatever the precision of training, with batch norm folded into the kernels, as on the CPU path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.evaluation import FoldedNetwork
from builders.recipe.epochs import ImageSplit
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import HyperParameters

_CHUNK = 4096  # images a forward pass on a card
_CHUNK_CPU = 128


@dataclass(frozen=True)
class ScoredImages:
    """Rows of the bank, int64 on the device, that a training is scored on."""

    rows: dict[str, Tensor]  # by name of the learning curve

    @classmethod
    def of(cls, bank: DeviceBank, dataset: str, split: ImageSplit) -> ScoredImages:
        """Return the parts of an image set that a training's split gives."""
        train, test = bank.first_row(dataset, "train"), bank.first_row(dataset, "test")
        n_test = bank.host[dataset].n_test
        rows = {
            "train_accuracy": split.train_scored + train,
            "validation_accuracy": split.validation + train,
            "test_accuracy": torch.arange(test, test + n_test),
        }
        return cls({name: part.to(bank.device) for name, part in rows.items()})

    def accuracies(self, counts: Tensor) -> dict[str, float]:
        """Return accuracies from the counts of :func:`correct_counts`, which are on the CPU by now."""
        return {name: int(n) / len(rows) for (name, rows), n in zip(self.rows.items(), counts, strict=True)}


@torch.no_grad()
def correct_counts(vector: Tensor, hyperparameters: HyperParameters, bank: DeviceBank, scored: ScoredImages) -> Tensor:
    """Return how many images of each part have their label as the largest output, int64 ``(parts,)`` on the device.

    Args:
        vector: ``(n_weights,)`` on the device.
        hyperparameters: the training's.
        bank: the images.
        scored: which of them.
    """
    network = FoldedNetwork(vector, Architecture.of(hyperparameters), hyperparameters.activation)
    chunk = _CHUNK if bank.device.type == "cuda" else _CHUNK_CPU
    counts = []
    for rows in scored.rows.values():
        correct = torch.zeros((), dtype=torch.int64, device=bank.device)
        for part in rows.split(chunk):
            images, labels = bank.gather(part)
            correct += (network.logits(images).argmax(1) == labels).sum()
        counts.append(correct)
    return torch.stack(counts)
