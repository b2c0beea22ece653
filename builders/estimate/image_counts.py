"""How many images a build will find: the paper's five sets are known without their files, others are counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builders.images.prepare import ImageOptions
from builders.images.sources import image_set_name, load_images
from nws_data.errors import BuildError
from nws_data.space.architecture import IMAGE_SHAPE, N_CLASSES


@dataclass(frozen=True)
class ImageCounts:
    """One image set as a build uses it."""

    name: str
    n_train: int  # validation part included
    n_test: int
    rarest: int  # training images of the smallest class: they decide how long an epoch is
    channels: int  # 1 or 3
    known: bool  # from the table below; False: counted

    @property
    def nbytes(self) -> int:
        """Bytes in the image bank."""
        return (self.n_train + self.n_test) * (self.channels * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] + 1)

    @property
    def n_scored(self) -> int:
        """Images that each evaluation scores: validation part, as many training images, test images."""
        return 2 * (self.n_train // 10) + self.n_test

    def epoch_images(self, batch_size: int) -> int:
        """Return about how many images an epoch trains on: exact but for the classes of the validation images.

        Raises ``BuildError`` when they do not fill a batch.
        """
        n = N_CLASSES * (self.rarest - self.rarest / 10)
        if n < batch_size:
            raise BuildError(
                f"image set {self.name} has too few images ({self.n_train}, a tenth of them for validation) for batches of "
                f"{batch_size} with equal classes; use more images"
            )
        return int(n) // batch_size * batch_size


OFFICIAL = {
    item.name: item
    for item in (
        ImageCounts("mnist", 55_000, 10_000, 4_987, 1, True),  # class 5 of file positions 5,000-59,999
        ImageCounts("cifar10", 45_000, 10_000, 4_468, 3, True),  # class 8 of the first 45,000
        ImageCounts("svhn", 73_257, 26_032, 4_659, 3, True),  # digit 9
        ImageCounts("stl10", 5_000, 8_000, 500, 3, True),
        ImageCounts("fashion_mnist", 55_000, 10_000, 5_444, 1, True),  # class 1 of file positions 5,000-59,999
    )
}
"""The paper's sets, prepared as builders/images/sources.py does it; torchvision checks the files."""


def image_counts(options: ImageOptions) -> list[ImageCounts]:
    """Return the counts of every image set; raises ``BuildError`` as preparing them would."""
    return [_limited(_counted(source, options), options) for source in options.sources]


def _counted(source: str, options: ImageOptions) -> ImageCounts:
    if source in OFFICIAL:
        return OFFICIAL[source]
    arrays = load_images(source, options.root, options.download)
    gray = all((images[:, 0] == images[:, c]).all() for images in (arrays.train_images, arrays.test_images) for c in (1, 2))
    rarest = int(np.bincount(arrays.train_labels, minlength=N_CLASSES).min())
    return ImageCounts(
        image_set_name(source), len(arrays.train_labels), len(arrays.test_labels), rarest, 1 if gray else 3, False
    )


def _limited(counts: ImageCounts, options: ImageOptions) -> ImageCounts:
    """Apply the limits of ``--train-images`` and ``--test-images``."""
    n_train, n_test = options.n_train or counts.n_train, options.n_test or counts.n_test
    for what, n, most in (
        ("training", options.n_train, N_CLASSES * counts.rarest),
        ("test", options.n_test, counts.n_test),
    ):
        if n is not None and (n <= 0 or n % N_CLASSES or n > most):
            raise BuildError(
                f"{counts.name} ({what}): the number of images must be a positive multiple of {N_CLASSES} and at most "
                f"{most - most % N_CLASSES}, got {n}"
            )
    rarest = n_train // N_CLASSES if options.n_train else counts.rarest
    return ImageCounts(counts.name, n_train, n_test, rarest, counts.channels, counts.known)
