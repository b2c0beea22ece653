"""Tiers of planned datasets are fair samples of the hyper-parameters; an unfair sample is found by the same tests.

A shard is closed when a size is reached, so how many trainings it holds depends on how large they are. That is a stopping
rule, and by Wald's identity the expected share of trainings of any kind stays the kind's share.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, ks_2samp, kstest, uniform

from builders.plan.trainings import PlannedTraining, plan_trainings
from nws_data.format.tiers import choose_tier, tier_bytes
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, IMAGE_SETS, LEARNING_RATE
from nws_data.space.identity import parse_id, split_of
from nws_data.write.planned_shards import planned_shards

SIZES = ("500MB", "1GB", "10GB")


def plan(population: str, n: int = 1500, seed: int = 0) -> list[PlannedTraining]:
    """The beginning of the paper's plan, enough for 10 GB; a larger plan has the same tiers of up to its size."""
    return list(plan_trainings(population, n, seed, IMAGE_SETS))


def tier(trainings: list[PlannedTraining], name: str) -> set[PlannedTraining]:
    lengths = [(planned.id, Architecture.of(planned.hyperparameters).n_weights) for planned in trainings]
    shards = choose_tier(planned_shards(lengths), tier_bytes(name))
    assert sum(shard.nbytes for taken in shards.values() for shard in taken) <= tier_bytes(name)
    last = {split: parse_id(taken[-1].last)[1] for split, taken in shards.items() if taken}
    return {planned for planned in trainings if parse_id(planned.id)[1] <= last.get(split_of(planned.id), -1)}


def p_values(trainings: list[PlannedTraining], inside: set[PlannedTraining], column: str) -> tuple[float, float]:
    """Of a sample's column, against the law that the plan draws from, and against the trainings outside."""
    sample, rest = (
        [getattr(t.hyperparameters, column) for t in trainings if (t in inside) is taken] for taken in (True, False)
    )
    if column == "learning_rate":
        low, high = LEARNING_RATE
        return kstest(sample, uniform(low, high - low).cdf).pvalue, ks_2samp(sample, rest).pvalue
    counts = [[part.count(value) for value in CLASSES[column]] for part in (sample, rest)]
    return chisquare(counts[0]).pvalue, chi2_contingency(counts, correction=False).pvalue


@pytest.fixture(scope="module")
def random() -> list[PlannedTraining]:
    return plan("random")


@pytest.mark.slow
def test_p_values_of_fair_tiers_are_those_of_chance(random: list[PlannedTraining]) -> None:
    p = []
    for trainings in (plan("fixed"), random):
        drawn = [name for name in CLASSES if trainings is random or name not in FIXED_ARCHITECTURE]
        for name in SIZES:
            inside = tier(trainings, name)
            p += [value for column in (*drawn, "learning_rate") for value in p_values(trainings, inside, column)]
    assert len(p) == 3 * 2 * (7 + 12)  # columns of fixed and random, two tests each
    assert min(p) > 0.01 / len(p)
    assert 0.35 < np.mean(p) < 0.65


def test_an_unfair_sample_is_found(random: list[PlannedTraining]) -> None:
    inside = tier(random, "10GB")
    narrow = {t for t in inside if t.hyperparameters.width_conv < max(CLASSES["width_conv"])}
    slow = {t for t in inside if t.hyperparameters.learning_rate < 0.004}
    for column, sample in (("width_conv", narrow), ("learning_rate", slow)):
        assert max(p_values(random, sample, column)) < 1e-6


@pytest.mark.slow
def test_closing_shards_by_size_favours_no_architecture() -> None:
    """On the first gigabyte of eight datasets: the share of the widest networks, and the mean length."""
    trainings = [t for seed in range(8) for t in tier(plan("random", 400, seed), "1GB")]
    wide = np.array([t.hyperparameters.width_conv == max(CLASSES["width_conv"]) for t in trainings])
    lengths = np.array([Architecture.of(t.hyperparameters).n_weights for t in trainings])
    lengths = lengths / np.mean([architecture.n_weights for architecture in all_architectures()])
    assert len(trainings) > 500
    for found, law in ((wide, 1 / 3), (lengths, 1.0)):
        assert abs(found.mean() - law) < 3.5 * found.std() / len(found) ** 0.5 < 0.2
