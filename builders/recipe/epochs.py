"""Which images a training sees: its validation part and the order of every epoch.

Source: Eilertsen et al. 2020, Supplement A.2 (10 % validation; equal numbers of each class, drawn anew each epoch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nws_data.errors import BuildError
from nws_data.randomness import Purpose, permutation, words
from nws_data.space.architecture import N_CLASSES


@dataclass(frozen=True)
class ImageSplit:
    """Positions in an image set's training images, int64: what a training learns from and is scored on."""

    validation: Tensor  # a tenth of the images, never trained on
    train: Tensor
    train_scored: Tensor  # the part of ``train`` that the train accuracy is measured on, as many as ``validation``


def split_images(n_images: int, seed: int) -> ImageSplit:
    """Return the split that a training's seed makes of ``n_images`` training images."""
    order = permutation(seed, Purpose.VALIDATION_SPLIT, 0, n_images)
    n = n_images // 10
    return ImageSplit(order[:n].sort().values, order[n:].sort().values, order[n : 2 * n].sort().values)


def steps_per_epoch(train_labels: Tensor, batch_size: int) -> int:
    """Return floor(10 n / batch size), n the images of the rarest class in the training part ``train_labels``."""
    return N_CLASSES * int(torch.bincount(train_labels, minlength=N_CLASSES).min()) // batch_size


def enough_images(batch_size: int) -> int:
    """Return how many training images of each class fill a batch with equal classes, however validation parts fall.

    Of m images m / 10 +- 0.3 sqrt(m) are for validation; this is the least m that has enough left at six sigma.
    """
    return math.ceil((1 + math.sqrt(1 + math.ceil(batch_size / N_CLASSES) / 0.9)) ** 2)


def too_few_images(name: str, n_images: int, batch_size: int) -> BuildError:
    """Return the error of an image set whose ``n_images`` training images do not fill a batch."""
    return BuildError(
        f"image set {name} has too few images ({n_images}, a tenth of them for validation) for batches of {batch_size} with "
        f"equal classes; use more images, {enough_images(batch_size)} of each class are enough"
    )


class EpochSampler:
    """The batches of a training's epochs, drawn on any device without a value going back to the host.

    Draws n images of each class, n the number of the rarest, shuffles them and drops the incomplete last batch. Labels are
    those of all training images of the set, ``(n_images,)`` on the CPU. They fill a batch, which a build has checked.
    """

    def __init__(
        self, split: ImageSplit, labels: Tensor, seed: int, batch_size: int, device: torch.device | str = "cpu"
    ) -> None:
        train_labels = labels[split.train]
        counts = torch.bincount(train_labels, minlength=N_CLASSES)
        n, self.steps = int(counts.min()), steps_per_epoch(train_labels, batch_size)
        self._seed, self._batch_size, self._device = seed, batch_size, device
        self._class_key = (train_labels.long() << 32).to(device)
        # One stable sort by (class, random word) puts each class's draw in front of its block.
        self._fronts = ((counts.cumsum(0) - counts)[:, None] + torch.arange(n)).flatten().to(device)
        self._train = split.train.to(device)

    def batches(self, epoch: int) -> Tensor:
        """Return the batches of an epoch, int64 positions ``(steps, batch_size)`` on the device."""
        keys = words(self._seed, Purpose.EPOCH_DRAW, epoch, len(self._train), self._device)
        drawn = torch.sort(self._class_key | keys, stable=True).indices[self._fronts]
        shuffled = drawn[permutation(self._seed, Purpose.EPOCH_ORDER, epoch, len(drawn), self._device)]
        return self._train[shuffled[: self.steps * self._batch_size]].reshape(self.steps, self._batch_size)
