"""Hyper-parameters of a training: values and sampling.

Source: Eilertsen et al. 2020, Table 1 and Supplement A.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from nws_data.errors import HyperParameterError, check_one_of, one_of
from nws_data.randomness import Purpose, words

SAMPLING = 1
"""Version of the tables below and of the draw from them. A change of either draws other trainings: raise it."""

IMAGE_SETS = ("mnist", "cifar10", "svhn", "stl10", "fashion_mnist")
"""The paper's five image sets. Others may stand beside them: ``dataset`` is a free string."""

LEARNING_RATE = (0.0002, 0.005)
"""Bounds of the uniform draw of the initial learning rate."""

CLASSES: dict[str, tuple[Any, ...]] = {
    "dataset": IMAGE_SETS,
    "batch_size": (32, 64, 128, 256),
    "augmentation": (False, True),
    "optimizer": ("adam", "rmsprop", "momentum"),
    "activation": ("relu", "elu", "sigmoid", "tanh"),
    "initialization": ("constant", "random_normal", "glorot_uniform", "glorot_normal"),
    "filter_size": (3, 5, 7),
    "depth_conv": (3, 4, 5),
    "depth_fc": (3, 4, 5),
    "width_conv": (16, 32, 48),
    "width_fc": (64, 128, 192),
}
"""The classed hyper-parameters with their values in the order of their labels (Table 1)."""

FIXED_ARCHITECTURE = {"filter_size": 5, "depth_conv": 3, "depth_fc": 3, "width_conv": 32, "width_fc": 128}
"""What the population ``fixed`` does not draw (Table 1, circled)."""

Population = Literal["fixed", "random"]
POPULATIONS: tuple[Population, ...] = get_args(Population)


@dataclass(frozen=True, kw_only=True)
class HyperParameters:
    """All hyper-parameters of one training (Table 1). Raises ``HyperParameterError`` on a value outside it."""

    dataset: str  # the image set's name
    learning_rate: float  # initial rate, times 0.96 after each epoch
    batch_size: int
    augmentation: bool
    optimizer: str
    activation: str
    initialization: str
    filter_size: int  # side of the square convolution kernels
    depth_conv: int  # convolution layers
    depth_fc: int  # fully connected layers, the output layer counted
    width_conv: int  # channels of the last convolution layer
    width_fc: int  # units of the first fully connected layer
    batch_norm: bool = True  # off only for the ablation of Supplement F.3

    def __post_init__(self) -> None:
        for name, values in (CLASSES | {"batch_norm": (False, True)}).items():
            value, kind = getattr(self, name), type(values[0])
            is_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)  # 5.0 == 5, and 1 == True
            if name != "dataset" and not (is_kind and value in values):
                raise HyperParameterError(f"{name}: {one_of(value, values)} ({kind.__name__})")
        if not self.dataset or not isinstance(self.dataset, str):
            raise HyperParameterError(f"dataset must be the name of an image set, got {self.dataset!r}")
        rate = self.learning_rate
        if not isinstance(rate, float) or not LEARNING_RATE[0] <= rate <= LEARNING_RATE[1]:
            hint = "" if isinstance(rate, float) else "; give a float"
            raise HyperParameterError(f"learning_rate must be in {list(LEARNING_RATE)}, got {rate!r}{hint}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HyperParameters:
        """Build from a mapping; unknown or missing names raise ``HyperParameterError``."""
        known = [f.name for f in fields(cls)]
        for name in values:
            check_one_of("unknown hyper-parameter", name, known, HyperParameterError)
        missing = [f.name for f in fields(cls) if f.name not in values and f.name != "batch_norm"]
        if missing:
            raise HyperParameterError(f"missing hyper-parameters: {', '.join(missing)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a plain dict in the column order of the metadata."""
        return dict(vars(self))


COLUMNS = tuple(f.name for f in fields(HyperParameters))
"""Names of all hyper-parameter columns in metadata order."""


def sample_many(
    seeds: Sequence[int], population: str, image_sets: Sequence[str] = IMAGE_SETS, batch_norm: bool = True
) -> Iterator[HyperParameters]:
    """Draw the hyper-parameters of trainings; all are independent and uniform (Table 1). All at once is 50 times as fast.

    Args:
        seeds: of each training, see :func:`nws_data.space.identity.training_seed`.
        population: ``"fixed"`` (one architecture) or ``"random"``.
        image_sets: the names that ``dataset`` is drawn from.
        batch_norm: a property of the whole build, not drawn.

    Raises:
        HyperParameterError: an unknown population or no image set.
    """
    import torch

    check_one_of("population", population, POPULATIONS, HyperParameterError)
    if not image_sets:
        raise HyperParameterError("image_sets is empty; name at least one image set")
    low, high = LEARNING_RATE
    for draws in words(torch.tensor(seeds, dtype=torch.int64), Purpose.HYPERPARAMETERS, 0, len(CLASSES) + 1).tolist():
        values: dict[str, Any] = {"learning_rate": low + (high - low) * draws[0] / 2**32, "batch_norm": batch_norm}
        for draw, (name, classes) in zip(draws[1:], CLASSES.items(), strict=True):
            options = tuple(image_sets) if name == "dataset" else classes
            values[name] = options[draw * len(options) >> 32]
        yield HyperParameters(**values | (FIXED_ARCHITECTURE if population == "fixed" else {}))
