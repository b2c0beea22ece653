"""How many images a build will find: the paper's five sets are known without their files, others are counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from builders.images.prepare import ImageOptions
from builders.images.sources import image_set_name, load_images
from builders.recipe.epochs import too_few_images
from nws_data.errors import BuildError
from nws_data.space.architecture import IMAGE_SHAPE, N_CLASSES

_DRAWS = 500  # of validation parts


@dataclass(frozen=True)
class ImageCounts:
    """One image set as a build uses it."""

    name: str
    n_test: int
    classes: tuple[int, ...]  # training images of each class: the rarest decides how long an epoch is
    channels: int  # 1 or 3
    known: bool  # from the table below; False: counted

    @property
    def n_train(self) -> int:
        """Training images, validation part included."""
        return sum(self.classes)

    @property
    def rarest(self) -> int:
        """Training images of the smallest class."""
        return min(self.classes)

    @property
    def nbytes(self) -> int:
        """Bytes in the image bank."""
        return (self.n_train + self.n_test) * (self.channels * IMAGE_SHAPE[1] * IMAGE_SHAPE[2] + 1)

    @property
    def n_scored(self) -> int:
        """Images that each evaluation scores: validation part, as many training images, test images."""
        return 2 * (self.n_train // 10) + self.n_test

    def epoch_images(self, batch_size: int) -> float:
        """Return how many images an epoch trains on, on average over trainings, whose validation parts differ.

        Raises ``BuildError`` when they do not fill a batch.
        """
        steps = N_CLASSES * _rarest_left(self.classes) // batch_size
        if not steps.any():
            raise too_few_images(self.name, self.n_train, batch_size)
        return float(steps.mean()) * batch_size


@lru_cache
def _rarest_left(classes: tuple[int, ...]) -> np.ndarray:
    """Return how many images the rarest class keeps in some trainings, int ``(_DRAWS,)``: a tenth of all is taken away."""
    generator = np.random.default_rng(0)
    taken = generator.multivariate_hypergeometric(classes, sum(classes) // 10, size=_DRAWS)
    return np.asarray((np.asarray(classes) - taken).min(axis=1))


OFFICIAL = {
    item.name: item
    for item in (
        ImageCounts("mnist", 10_000, (5444, 6179, 5470, 5638, 5307, 4987, 5417, 5715, 5389, 5454), 1, True),
        ImageCounts("cifar10", 10_000, (4507, 4512, 4521, 4481, 4525, 4471, 4512, 4515, 4468, 4488), 3, True),
        ImageCounts("svhn", 26_032, (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659), 3, True),
        ImageCounts("stl10", 8_000, (500,) * N_CLASSES, 3, True),
        ImageCounts("fashion_mnist", 10_000, (5543, 5444, 5496, 5499, 5512, 5507, 5507, 5488, 5510, 5494), 1, True),
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
    classes = tuple(np.bincount(arrays.train_labels, minlength=N_CLASSES).tolist())
    return ImageCounts(image_set_name(source), len(arrays.test_labels), classes, 1 if gray else 3, False)


def _limited(counts: ImageCounts, options: ImageOptions) -> ImageCounts:
    """Apply the limits of ``--train-images`` and ``--test-images``."""
    for what, n, most in (
        ("training", options.n_train, N_CLASSES * counts.rarest),
        ("test", options.n_test, counts.n_test),
    ):
        if n is not None and (n <= 0 or n % N_CLASSES or n > most):
            raise BuildError(
                f"{counts.name} ({what}): the number of images must be a positive multiple of {N_CLASSES} and at most "
                f"{most - most % N_CLASSES}, got {n}"
            )
    classes = (options.n_train // N_CLASSES,) * N_CLASSES if options.n_train else counts.classes
    return replace(counts, classes=classes, n_test=options.n_test or counts.n_test)
