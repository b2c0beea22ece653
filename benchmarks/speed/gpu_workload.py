"""What the card's speed is measured on: images, trainings, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.speed.eager import random_bank
from builders.plan.cost import training_flop
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining, plan_trainings
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

WORKLOADS = ("smallest", "fixed", "largest", "mixed")
SET = "random"
"""Name of the image set: speed does not depend on what the images show."""


@dataclass(frozen=True)
class Scale:
    """How much work a measurement is."""

    n_train: int  # images of the set
    n_test: int  # as many as give evaluations the share that they have in the whole dataset
    lanes: int  # fleets in flight; of the fixed architecture a quarter, since its fleets are large
    slots: int | None  # of a fleet; None: as in a build
    fleet_epochs: int  # of every training in flight in a round: whole ones, since evaluations come at their ends
    eager_images: int  # images of one eager model and round
    eager_models: int  # as many as lanes, one of each: else ``mixed`` would be another mixture
    processes: int  # eager ones side by side

    @property
    def epoch_images(self) -> int:
        """Images of one training's epoch; a little less where classes are not equally frequent in its training part."""
        return self.n_train - self.n_train // 10

    @property
    def scored_per_trained(self) -> float:
        """Images scored for each image trained on, in a whole epoch."""
        return (2 * (self.n_train // 10) + self.n_test) / self.epoch_images


# 0.633 images scored for each trained on, as builders/estimate counts for the paper's five sets (CIFAR-10: 0.444).
FULL = Scale(50_000, 18_500, lanes=8, slots=None, fleet_epochs=1, eager_images=6_400, eager_models=8, processes=8)
DRY = Scale(400, 100, lanes=2, slots=2, fleet_epochs=1, eager_images=256, eager_models=2, processes=2)

_DRAWS = 100  # trainings of the population that each fleet of ``mixed`` stands for


def write_images(folder: Path, scale: Scale) -> None:
    """Write a bank with random colour images."""
    random_bank(folder, {SET: (scale.n_train, scale.n_test)})


def queues(workload: str, scale: Scale) -> list[list[PlannedTraining]]:
    """Return the trainings of each fleet in flight, as many as it has slots.

    ``mixed`` takes architectures and batch sizes from the population ``random``, sorted by operations an image: the middle
    of each of as many equal parts, so that few fleets have about the population's mean. The others have one architecture and
    batches of 64. Optimizers, activations, initialisations and augmentation differ within a fleet.
    """
    n = scale.lanes if workload != "fixed" else max(1, scale.lanes // 4)
    if workload == "mixed":
        drawn = [planned.hyperparameters for planned in plan_trainings("random", n * _DRAWS, 0, [SET])]
        shapes = sorted(drawn, key=lambda hp: training_flop(Architecture.of(hp)))[_DRAWS // 2 :: _DRAWS]
    else:
        architectures = all_architectures()
        fixed = next(architecture for architecture in architectures if architecture.is_fixed)
        architecture = {"smallest": architectures[0], "largest": architectures[-1], "fixed": fixed}[workload]
        shape = {name: getattr(architecture, name) for name in FIXED_ARCHITECTURE}
        first = next(plan_trainings("random", 1, 0, [SET])).hyperparameters
        shapes = [replace(first, batch_size=64, **shape)] * n
    return [_fill(shape, scale, 1000 * lane) for lane, shape in enumerate(shapes)]


def one_of_each(workload: str, scale: Scale) -> list[PlannedTraining]:
    """Return the trainings of the baseline, one of each fleet in turn, which differ as those within a fleet do."""
    fleets = queues(workload, scale)
    return [fleets[i % len(fleets)][i % len(fleets[i % len(fleets)])] for i in range(scale.eager_models)]


def images_of(trainings: Sequence[PlannedTraining], scale: Scale) -> int:
    """Return the images x models that a fleet trains on in a round."""
    return len(trainings) * scale.epoch_images * scale.fleet_epochs


def _fill(shape: HyperParameters, scale: Scale, first: int) -> list[PlannedTraining]:
    slots = scale.slots or Shape.of(shape).card_slots
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
