"""The sampling plan: which trainings a build consists of. The plan of N is a prefix of the plan of more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nws_data.space.hyperparameters import HyperParameters, sample_many
from nws_data.space.identity import training_id, training_seed

_DRAWN_AT_ONCE = 1000


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a plan."""

    id: str
    seed: int
    hyperparameters: HyperParameters


def plan_trainings(
    population: str, n: int, build_seed: int, image_sets: Sequence[str], batch_norm: bool = True, first: int = 0
) -> Iterator[PlannedTraining]:
    """Yield the first ``n`` trainings of a population's plan, from the one with index ``first`` on.

    Build seed, population and plan index decide everything; ``dataset`` is drawn from ``image_sets``. ``batch_norm`` is off
    only for the ablation of Supplement F.3.
    """
    for start in range(first, n, _DRAWN_AT_ONCE):
        indices = range(start, min(n, start + _DRAWN_AT_ONCE))
        seeds = [training_seed(build_seed, population, index) for index in indices]
        for index, seed, drawn in zip(indices, seeds, sample_many(seeds, population, image_sets, batch_norm), strict=True):
            yield PlannedTraining(training_id(population, index), seed, drawn)
