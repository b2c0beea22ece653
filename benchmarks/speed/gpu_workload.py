"""What the card's speed is measured on: images, trainings, sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from builders.gpu.shape import DeviceShape
from builders.images.arrays import image_arrays
from builders.images.bank import write_bank
from builders.plan import PlannedTraining, plan_trainings
from nws_data.space.architecture import all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

WORKLOADS = ("smallest", "fixed", "largest", "mixed")
SET = "random"
"""Name of the image set: speed does not depend on what the images show."""


@dataclass(frozen=True)
class Scale:
    """How much work a measurement is."""

    n_train: int  # images of the set, as in CIFAR-10: evaluations take their share
    n_test: int
    lanes: int  # fleets in flight; of the fixed architecture a quarter, since its fleets are large
    slots: int | None  # of a fleet; None: as in a build
    fleet_images: int  # images x models of a round, all lanes together
    eager_images: int  # images of one eager model and round
    eager_models: int
    processes: int  # eager ones side by side

    @property
    def scored_per_trained(self) -> float:
        """Images scored for each image trained on, in a whole epoch."""
        return (2 * (self.n_train // 10) + self.n_test) / (self.n_train - self.n_train // 10)


FULL = Scale(50_000, 10_000, lanes=8, slots=None, fleet_images=4_000_000, eager_images=12_800, eager_models=4, processes=8)
DRY = Scale(400, 100, lanes=2, slots=2, fleet_images=2_000, eager_images=256, eager_models=1, processes=2)


def write_images(folder: Path, scale: Scale) -> None:
    """Write a bank with random colour images."""
    generator = np.random.default_rng(0)
    sizes = (scale.n_train, scale.n_test)
    train, test = ((generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n) % 10) for n in sizes)
    write_bank(folder, [image_arrays(SET, train, test, "random pixels")])


def queues(workload: str, scale: Scale) -> list[list[PlannedTraining]]:
    """Return the trainings of each fleet in flight, as many as it has slots.

    ``mixed`` draws each fleet's architecture and batch size as the population ``random`` does; the others have one
    architecture and batches of 64. Optimizers, activations, initialisations and augmentation differ within a fleet.
    """
    n = scale.lanes if workload != "fixed" else max(1, scale.lanes // 4)
    if workload == "mixed":
        shapes = [planned.hyperparameters for planned in plan_trainings("random", n, 0, [SET])]
    else:
        architectures = all_architectures()
        fixed = next(architecture for architecture in architectures if architecture.is_fixed)
        architecture = {"smallest": architectures[0], "largest": architectures[-1], "fixed": fixed}[workload]
        shape = {name: getattr(architecture, name) for name in FIXED_ARCHITECTURE}
        first = next(plan_trainings("random", 1, 0, [SET])).hyperparameters
        shapes = [replace(first, batch_size=64, **shape)] * n
    return [_fill(shape, scale, 1000 * lane) for lane, shape in enumerate(shapes)]


def _fill(shape: HyperParameters, scale: Scale, first: int) -> list[PlannedTraining]:
    slots = scale.slots or DeviceShape.of(shape).slots
    return [PlannedTraining(f"random-{first + i:06d}", first + i, _vary(shape, i)) for i in range(slots)]


def _vary(shape: HyperParameters, i: int) -> HyperParameters:
    """Return the shape with other values of what differs within a fleet; every other training augments."""
    return replace(
        shape,
        optimizer=CLASSES["optimizer"][i % 3],
        activation=CLASSES["activation"][i % 4],
        initialization=("glorot_uniform", "glorot_normal")[i // 2 % 2],
        augmentation=i % 2 == 0,
        learning_rate=0.001,
    )
