"""How many images a build will find: the paper's five sets are known without their files, others are counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from builders.images.prepare import ImageOptions
from builders.images.sources import load_images
from builders.recipe.epochs import too_few_images
from nws_data.space.architecture import IMAGE_SHAPE, N_CLASSES


@dataclass(frozen=True)
class ImageCounts:
    """One image set as a build uses it."""

    name: str
    n_train: int  # validation part included
    n_test: int
    rarest: int  # training images of the smallest class, which decides how long an epoch is
    channels: int = 3

    @property
    def nbytes(self) -> int:
        """Bytes in the image bank."""
        return (self.n_train + self.n_test) * (self.channels * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] + 1)

    @property
    def n_scored(self) -> int:
        """Images that each evaluation scores: validation part, as many training images, test images."""
        return 2 * (self.n_train // 10) + self.n_test

    def epoch_images(self, batch_size: int) -> int:
        """Return about how many images an epoch trains on; raises ``BuildError`` when they do not fill a batch.

        A tenth of the images is for validation, and of ten classes the one that loses most loses 1.5 sigma more.
        """
        left = 0.9 * self.rarest - 1.5 * (0.09 * self.rarest) ** 0.5
        steps = int(N_CLASSES * left) // batch_size
        if steps < 1:
            raise too_few_images(self.name, self.n_train, batch_size)
        return steps * batch_size


OFFICIAL = {
    item.name: item
    for item in (
        ImageCounts("mnist", 55_000, 10_000, 4_987, 1),
        ImageCounts("cifar10", 45_000, 10_000, 4_468),
        ImageCounts("svhn", 73_257, 26_032, 4_659),
        ImageCounts("stl10", 5_000, 8_000, 500),
        ImageCounts("fashion_mnist", 55_000, 10_000, 5_444, 1),
    )
}
"""The paper's sets, prepared as builders/images/sources.py does it; torchvision checks the files."""


def image_counts(options: ImageOptions) -> list[ImageCounts]:
    """Return the counts of every image set within the limits; raises ``BuildError`` as preparing them would, but for a limit
    above what there is."""
    found = []
    for source in options.sources:
        if (counts := OFFICIAL.get(source)) is None:
            arrays = load_images(source, options.root, options.download)
            rarest = int(np.bincount(arrays.train_labels, minlength=N_CLASSES).min())
            counts = ImageCounts(arrays.name, len(arrays.train_labels), len(arrays.test_labels), rarest)
        if options.n_train:
            counts = replace(counts, n_train=options.n_train, rarest=options.n_train // N_CLASSES)
        found.append(replace(counts, n_test=options.n_test or counts.n_test))
    return found
