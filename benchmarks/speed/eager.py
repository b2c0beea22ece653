"""The baseline of the trainings: one network after another as plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import augment, to_float
from builders.recipe.initialization import initial_vector
from nws_data.space.architecture import Architecture
from nws_data.space.network import build_network, state_dict_from_vector

Batches = Iterable[tuple[Tensor, Tensor]]
"""uint8 images ``(n, C, 32, 32)`` and labels ``(n,)``."""


class Eager:
    """One training: a module, an optimizer of ``torch.optim``, one step after another."""

    def __init__(self, planned: PlannedTraining, device: torch.device | str = "cpu") -> None:
        hp = planned.hyperparameters
        self.planned, self.n_steps = planned, 0
        self.model = build_network(hp)
        vector = initial_vector(hp, planned.seed).float()
        self.model.load_state_dict(state_dict_from_vector(vector, Architecture.of(hp)), strict=False)
        self.model.to(device)
        optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "adam": torch.optim.Adam,
            "rmsprop": torch.optim.RMSprop,
            "momentum": partial(torch.optim.SGD, momentum=0.95),
        }
        self.optimizer = optimizers[hp.optimizer](self.model.parameters(), lr=hp.learning_rate)

    def train(self, batches: Batches) -> None:
        """Train on batches, augmented where the training is."""
        self.model.train()
        for raw, labels in batches:
            augmented = self.planned.hyperparameters.augmentation
            images = augment(raw, self.planned.seed, self.n_steps) if augmented else to_float(raw)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(images), labels.long()).backward()
            self.optimizer.step()
            self.n_steps += 1

    @torch.no_grad()
    def score(self, batches: Batches) -> int:
        """Return how many images the network gets right."""
        self.model.eval()
        return int(sum((self.model(to_float(raw)).argmax(1) == labels).sum() for raw, labels in batches))
