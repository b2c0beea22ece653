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
    """Yield the first ``n`` trainings of a population's plan.

    Args:
        population: ``"fixed"`` or ``"random"``.
        n: how many.
        build_seed: with the population and the plan index it decides everything.
        image_sets: the names ``dataset`` is drawn from.
        batch_norm: off only for the ablation of Supplement F.3.
    """
    for index in range(n):
        yield plan_training(population, index, build_seed, image_sets, batch_norm)


def plan_training(
    population: str, index: int, build_seed: int, image_sets: Sequence[str], batch_norm: bool = True
) -> PlannedTraining:
    """Return the training with a plan index; arguments as in :func:`plan_trainings`."""
    seed = training_seed(build_seed, population, index)
    hyperparameters = sample_hyperparameters(seed, population, image_sets, batch_norm)
    return PlannedTraining(training_id(population, index), seed, hyperparameters)
