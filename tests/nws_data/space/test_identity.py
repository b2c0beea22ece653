"""Ids, seeds and splits: pinned values, since every stored dataset depends on them, and exact counts."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from nws_data.errors import SelectionError
from nws_data.space.identity import BLOCKS, SPLITS, check_population, id_hash, parse_id, split_of, training_id, training_seed

GOLDEN_SPLITS = {
    "fixed-000000": "train",
    "fixed-000001": "test",
    "fixed-000002": "validation",
    "fixed-000003": "test",
    "fixed-000035": "validation",
    "fixed-002999": "test",
    "random-000000": "train",
    "random-000001": "test",
    "random-000004": "validation",
    "random-000130": "validation",
    "random-004711": "train",
    "random-499999": "train",
    "random-500000": "none",
    "random-1234567": "none",
}
GOLDEN_SEEDS = {
    (0, "fixed", 0): 3916105547290561594,
    (0, "fixed", 1): 5187320827750712009,
    (0, "random", 0): 8707356412582913175,
    (7, "fixed", 0): 6234352917891500146,
    (0, "random", 4711): 5422474671393471008,
}


@pytest.mark.parametrize(
    ("population", "index", "text"),
    [("random", 4711, "random-004711"), ("fixed", 0, "fixed-000000"), ("random", 1234567, "random-1234567")],
)
def test_ids_both_ways(population, index, text):
    assert training_id(population, index) == text
    assert parse_id(text) == (population, index)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "random-4711",
        "random-0004711",
        "Random-004711",
        "all-004711",
        "random-00471x",
        "random--04711",
        "random-004711\n",
        " random-004711",
        "random-٠٠٤٧١١",
    ],
)
def test_what_is_no_id_is_refused(text):
    with pytest.raises(SelectionError) as caught:
        parse_id(text)
    assert str(caught.value) == f"not a training id: {text!r}; ids look like random-004711"
    with pytest.raises(SelectionError):
        split_of(text)


@pytest.mark.parametrize(
    ("population", "size", "expected"),
    [
        ("random", 13_000, {"train": 9000, "validation": 1000, "test": 3000}),
        ("fixed", 3_000, {"train": 1800, "validation": 200, "test": 1000}),
    ],
)
def test_split_counts_of_the_full_dataset(population, size, expected):
    assert Counter(split_of(training_id(population, i)) for i in range(size)) == expected


@pytest.mark.parametrize(("population", "size"), [("random", 130), ("fixed", 30)])
def test_every_block_is_exact_and_its_own(population, size):
    blocks = [[split_of(training_id(population, block * size + i)) for i in range(size)] for block in range(100)]
    assert sum(BLOCKS[population].values()) == size
    for block in blocks:
        assert Counter(block) == BLOCKS[population]
    assert len({tuple(block) for block in blocks}) == 100


def test_the_split_is_the_documented_order_of_hashes():
    ranked = sorted(range(30), key=lambda place: hashlib.sha256(f"nws-split/fixed/5/{place}".encode()).hexdigest())
    expected = dict.fromkeys(ranked[:18], "train") | dict.fromkeys(ranked[18:20], "validation")
    for place in range(30):
        assert split_of(training_id("fixed", 150 + place)) == expected.get(place, "test")


def test_pinned_splits():
    assert {training: split_of(training) for training in GOLDEN_SPLITS} == GOLDEN_SPLITS
    assert set(GOLDEN_SPLITS.values()) == set(SPLITS)


def test_asking_in_any_order_gives_the_same_splits():
    ids = [training_id("random", i) for i in range(500)]
    assert {i: split_of(i) for i in ids} == {i: split_of(i) for i in reversed(ids)}


def test_pinned_seeds():
    assert {key: training_seed(*key) for key in GOLDEN_SEEDS} == GOLDEN_SEEDS


def test_seeds_are_the_documented_hash_and_fit_63_bits():
    for (build_seed, population, index), seed in GOLDEN_SEEDS.items():
        text = hashlib.sha256(f"nws-seed/{build_seed}/{population}/{index}".encode()).hexdigest()
        assert seed == int(text[:16], 16) // 2
        assert 0 <= seed < 2**63


def test_build_seed_population_and_index_each_give_other_seeds():
    seeds = [training_seed(b, p, i) for b in (0, 1, 2) for p in BLOCKS for i in range(500)]
    assert len(set(seeds)) == len(seeds) == 3000


def test_id_hash_is_sha256_of_the_id():
    assert id_hash("random-004711") == "e30f3fc7d29f2dc27f37c5a5d6955b778c6cf6285ac0d64f78163921db1d27a9"


def test_populations():
    assert check_population("fixed") == "fixed"
    with pytest.raises(SelectionError, match="population: got 'both'; choose one of fixed, random"):
        check_population("both")
