"""Image sets as a dataset records them, and the accuracy a training must reach on each to be selected."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nws_data.arguments import check_text
from nws_data.errors import FormatError
from nws_data.space.hyperparameters import CLASSES

THRESHOLDS = {
    "mnist": 0.80,
    "cifar10": 0.25,
    "svhn": 0.50,
    "stl10": 0.25,
    "fashion_mnist": 0.50,
    "digits": 0.50,
}
"""Final test accuracy in [0, 1] that a training must pass (Eilertsen et al. 2020, Supplement C; ``digits`` is ours)."""

DEFAULT_THRESHOLD = 0.25
"""For image sets without an official value."""


RESERVED = (*CLASSES["optimizer"], *CLASSES["initialization"], "widest")
"""Names that no image set may have: in a task's name they mean an optimizer, an initialisation, the widest nets."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def threshold_of(name: str) -> float:
    """Return the official threshold of an image set, or 0.25."""
    return THRESHOLDS.get(name, DEFAULT_THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """One image set that trainings were trained on. Raises ``FormatError`` for values that it cannot have."""

    name: str  # the value of the column ``dataset``
    threshold: float  # final test accuracy in [0, 1] that a training must pass to be selected
    source: str  # where the images came from, in words
    n_train: int  # training images, validation part included
    n_test: int
    digest: str  # SHA-256 in hex of the prepared images and labels

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in RESERVED:
            raise FormatError(
                f"an image set's name has letters, digits, '-', '_' and '.', and is none of {', '.join(RESERVED)}; "
                f"got {self.name!r}"
            )
        for name in ("source", "digest"):
            try:
                check_text(getattr(self, name), f"image set {self.name}: {name}")
            except ValueError as error:
                raise FormatError(str(error)) from None
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold <= 1:
            raise FormatError(f"image set {self.name}: threshold must be in [0, 1], got {self.threshold!r}")
        if type(self.n_train) is not int or type(self.n_test) is not int or min(self.n_train, self.n_test) < 1:
            raise FormatError(f"image set {self.name}: needs images, got {self.n_train} training and {self.n_test} test")

    def passes(self, final_test_accuracy: float) -> bool:
        """Whether a training with this final test accuracy, in [0, 1], is selected: it must exceed the threshold."""
        return final_test_accuracy > self.threshold
