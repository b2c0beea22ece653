"""The sampling plan: which trainings a build consists of. The plan of N is a prefix of the plan of more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nws_data.space.hyperparameters import HyperParameters, sample_hyperparameters
from nws_data.space.identity import training_id, training_seed


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a plan."""

    id: str
    seed: int
    hyperparameters: HyperParameters


def plan_trainings(
    population: str, n: int, build_seed: int, image_sets: Sequence[str], batch_norm: bool = True
) -> Iterator[PlannedTraining]:
    """Yield the first ``n`` trainings of a population's plan, see :func:`plan_training`."""
    for index in range(n):
        yield plan_training(population, index, build_seed, image_sets, batch_norm)


def plan_training(
    population: str, index: int, build_seed: int, image_sets: Sequence[str], batch_norm: bool = True
) -> PlannedTraining:
    """Return the training with a plan index of a population, ``"fixed"`` or ``"random"``.

    Build seed, population and index decide everything; ``dataset`` is drawn from ``image_sets``. ``batch_norm`` is off only
    for the ablation of Supplement F.3.
    """
    seed = training_seed(build_seed, population, index)
    hyperparameters = sample_hyperparameters(seed, population, image_sets, batch_norm)
    return PlannedTraining(training_id(population, index), seed, hyperparameters)
