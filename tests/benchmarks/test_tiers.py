"""Tiers of planned datasets are fair samples; an unfair one is found by the same tests."""

import numpy as np
import pytest

from benchmarks.tiers import Planned, describe_tier, members, p_values, plan_population, stopping_bias, tier_shards
from nws_data.space.hyperparameters import CLASSES
from nws_data.space.identity import split_of


@pytest.fixture(scope="module")
def random() -> Planned:
    """The beginning of the paper's plan, enough for 10 GB; a larger plan has the same tiers of up to its size."""
    return plan_population("random", 1500, 0)


def test_p_values_of_fair_tiers_are_those_of_chance(random: Planned) -> None:
    fixed = plan_population("fixed", 1500, 0)
    found = [describe_tier(planned, tier) for planned in (fixed, random) for tier in ("500MB", "1GB", "10GB")]
    p = [value for tier in found for column in tier["p_values"].values() for value in column.values()]
    assert len(p) == 3 * 2 * (7 + 12)  # columns of fixed and random, two tests each
    assert min(p) > 0.01 / len(p)
    assert 0.35 < np.mean(p) < 0.65
    for tier in found:
        assert tier["n_bytes"] <= {"500MB": 5e8, "1GB": 1e9, "10GB": 1e10}[tier["tier"]]
        assert all(n > 0 for n in tier["n_trainings"].values())


def test_the_sample_is_what_stands_in_the_shards(random: Planned) -> None:
    shards = tier_shards(random, "1GB")
    inside = members(random, shards)
    for split, found in shards.items():
        ids = [training for training in random.ids[inside].tolist() if split_of(training) == split]
        assert (ids[0], ids[-1], len(ids)) == (found[0].first, found[-1].last, sum(s.n_trainings for s in found))


def test_an_unfair_sample_is_found(random: Planned) -> None:
    inside = members(random, tier_shards(random, "10GB"))
    narrow = inside & (random.columns["width_conv"] < max(CLASSES["width_conv"]))
    slow = inside & (random.columns["learning_rate"] < 0.004)
    for column, sample in (("width_conv", narrow), ("learning_rate", slow)):
        assert max(p_values(random.columns, sample)[column].values()) < 1e-6


def test_closing_shards_by_size_favours_no_architecture() -> None:
    """Wald's identity, on the first gigabyte of eight datasets."""
    bias = stopping_bias("1GB", range(8))
    assert bias["trainings"] > 500
    assert abs(bias["share"] - 1 / 3) < 3.5 * bias["share_error"] < 0.1
    assert abs(bias["length"] - 1) < 3.5 * bias["length_error"] < 0.2
