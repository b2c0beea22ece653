"""The sampling plan: a prefix of every larger plan, decided by build seed, population and index alone."""

from __future__ import annotations

from collections import Counter

from builders.plan.trainings import PlannedTraining, plan_trainings
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE, HyperParameters
from nws_data.space.identity import training_seed

SETS = ["mnist", "cifar10"]


def plan(population: str, n: int, seed: int = 0, image_sets=SETS, **options) -> list[PlannedTraining]:
    return list(plan_trainings(population, n, seed, image_sets, **options))


def test_a_plan_is_a_prefix_of_a_larger_one():
    for population in ("fixed", "random"):
        assert plan(population, 40)[:7] == plan(population, 7)
    assert plan("fixed", 0) == []


def test_a_plan_is_read_lazily():
    assert next(plan_trainings("random", 10**9, 0, SETS)) == plan("random", 1)[0]


def test_ids_and_seeds():
    trainings = plan("random", 30, seed=3)
    assert [t.id for t in trainings] == [f"random-{i:06d}" for i in range(30)]
    assert [t.seed for t in trainings] == [training_seed(3, "random", i) for i in range(30)]


def test_pinned_trainings():
    # Stored datasets depend on these.
    (first,) = plan("random", 1)
    assert first.hyperparameters == HyperParameters(
        dataset="cifar10",
        learning_rate=0.0006365773152559996,
        batch_size=32,
        augmentation=False,
        optimizer="adam",
        activation="tanh",
        initialization="glorot_uniform",
        filter_size=3,
        depth_conv=5,
        depth_fc=3,
        width_conv=16,
        width_fc=192,
    )
    (first,) = plan("fixed", 1, image_sets=["digits"])
    assert first.hyperparameters == HyperParameters(
        dataset="digits",
        learning_rate=0.0024150361347943547,
        batch_size=256,
        augmentation=True,
        optimizer="momentum",
        activation="relu",
        initialization="constant",
        **FIXED_ARCHITECTURE,
    )


def test_build_seeds_and_populations_share_nothing():
    drawn = [t for seed in (0, 1) for name in ("fixed", "random") for t in plan(name, 50, seed)]
    assert len({t.seed for t in drawn}) == 200
    assert len({t.hyperparameters.learning_rate for t in drawn}) == 200


def test_image_sets_are_drawn_evenly_and_change_nothing_else():
    two, three = plan("fixed", 300), plan("fixed", 300, image_sets=[*SETS, "own"])
    counts = Counter(t.hyperparameters.dataset for t in three)
    assert set(counts) == {*SETS, "own"} and min(counts.values()) > 70
    for a, b in zip(two, three, strict=True):
        assert a.seed == b.seed
        assert a.hyperparameters.to_dict() | {"dataset": ""} == b.hyperparameters.to_dict() | {"dataset": ""}


def test_batch_norm_is_a_property_of_the_build():
    for with_norm, without in zip(plan("random", 20), plan("random", 20, batch_norm=False), strict=True):
        assert without.hyperparameters.to_dict() == with_norm.hyperparameters.to_dict() | {"batch_norm": False}
