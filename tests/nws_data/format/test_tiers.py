"""The choice of a tier against its rule written out plainly, and its promises on the planned dataset."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nws_data.errors import SelectionError
from nws_data.format.manifest import ShardEntry
from nws_data.format.tiers import choose_tier, tier_bytes, tier_name, tier_order
from nws_data.space.identity import BLOCKS, SPLITS, split_of, training_id
from nws_data.write.planned_shards import planned_shards
from tests.conftest import TinyDataset

Splits = dict[str, tuple[ShardEntry, ...]]


@dataclass(frozen=True)
class Made:
    nbytes: int
    first: str
    last: str


def planned(population: str, n: int, seed: int) -> Splits:
    """Shards of ``n`` trainings of random lengths, far smaller than real ones."""
    lengths = np.random.default_rng(seed).integers(1_000, 20_000, n).tolist()
    sizes = tuple(400_000 * k for k in (1, 1, 2, 4, 8))
    return planned_shards(((training_id(population, i), m) for i, m in enumerate(lengths)), sizes)


def plainly(splits: Splits, size: int) -> dict[str, list[ShardEntry]]:
    """The rule, step by step: first one shard of each split, then the shard whose middle comes next."""
    chosen = {split: [shards[0]] for split, shards in splits.items()}
    while True:
        rest = {split: shards[len(chosen[split])] for split, shards in splits.items() if len(shards) > len(chosen[split])}
        if not rest:
            return chosen
        split = min(rest, key=lambda s: (int(rest[s].first[-6:]) + int(rest[s].last[-6:]), list(SPLITS).index(s)))
        if sum(x.nbytes for shards in chosen.values() for x in shards) + rest[split].nbytes > size:
            return chosen
        chosen[split].append(rest[split])


@pytest.mark.parametrize("population", ["fixed", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_the_rule(population: str, seed: int) -> None:
    splits = planned(population, 700, seed)
    smallest = sum(shards[0].nbytes for shards in splits.values())
    total = sum(shard.nbytes for shards in splits.values() for shard in shards)
    before: dict[str, tuple[ShardEntry, ...]] = dict.fromkeys(splits, ())
    for size in np.linspace(smallest, total, 60).astype(int).tolist():
        chosen = choose_tier(splits, size)
        assert {split: list(shards) for split, shards in chosen.items()} == plainly(splits, size)
        assert sum(x.nbytes for shards in chosen.values() for x in shards) <= size
        for split, shards in chosen.items():
            assert shards and shards == splits[split][: len(shards)]  # a prefix, never empty
            assert shards[: len(before[split])] == before[split]  # a larger tier contains the smaller one
        before = chosen
    assert before == splits == choose_tier(splits, None) == choose_tier(splits, total * 10)


def test_splits_keep_their_shares() -> None:
    splits = planned("random", 13_000, 0)
    for size in (200_000_000, 1_000_000_000, 5_000_000_000):
        counts = {split: sum(x.n_trainings for x in shards) for split, shards in choose_tier(splits, size).items()}
        for split, share in BLOCKS["random"].items():
            assert abs(counts[split] / sum(counts.values()) - share / 130) < 0.02


def test_an_extension_changes_no_tier_that_was_full() -> None:
    """New shards stand behind all old ones, although the splits' totals have changed."""
    old = planned("fixed", 300, 1)
    longer = planned("fixed", 600, 1)
    joined = {split: old[split] + tuple(x for x in longer[split] if x.first > old[split][-1].last) for split in old}
    assert any(len(joined[split]) > len(old[split]) for split in old)
    assert tier_order(joined)[: len(tier_order(old))] == tier_order(old)


def test_worked_by_hand() -> None:
    splits = {
        "train": [Made(10, "random-000000", "random-000009"), Made(10, "random-000010", "random-000029")],
        "test": [Made(5, "random-000004", "random-000007"), Made(20, "random-000011", "random-000028")],
    }
    assert [split for split, _ in tier_order(splits)] == ["train", "test", "train", "test"]  # 10 + 29 = 11 + 28: by split
    assert {s: len(x) for s, x in choose_tier(splits, 24).items()} == {"train": 1, "test": 1}
    assert {s: len(x) for s, x in choose_tier(splits, 25).items()} == {"train": 2, "test": 1}
    assert {s: len(x) for s, x in choose_tier(splits, 44).items()} == {"train": 2, "test": 1}
    assert {s: len(x) for s, x in choose_tier(splits, 45).items()} == {"train": 2, "test": 2}
    with pytest.raises(SelectionError, match=r"few for one shard of each split of random: the smallest tier is '1MB'"):
        choose_tier(splits, 14)
    assert choose_tier({}, 10) == {}


@pytest.mark.parametrize(
    ("text", "name", "size"),
    [
        ("1GB", "1GB", 10**9),
        ("10gb", "10GB", 10**10),
        ("500 MB", "500MB", 500_000_000),
        ("1500MB", "1.5GB", 1_500_000_000),
        ("0.5TB", "500GB", 5 * 10**11),
        ("1.25GB", "1.25GB", 1_250_000_000),
        ("0.5MB", "0.5MB", 500_000),
        ("Full", "full", None),
    ],
)
def test_names_of_tiers(text: str, name: str, size: int | None) -> None:
    assert (tier_name(text), tier_bytes(text)) == (name, size)
    assert tier_bytes(name) == size and tier_name(name) == name


@pytest.mark.parametrize("text", ["", "٣GB", "1", "GB", "1GiB", "-1GB", "0GB", "1e3MB", "all", "nan GB", None, 10**9])
def test_what_is_no_tier(text: object) -> None:
    with pytest.raises(
        SelectionError, match="give 1GB, 10GB, full, or another size: a number and MB, GB or TB, such as 500MB"
    ):
        tier_bytes(text)  # type: ignore[arg-type]


def test_planned_shards_are_those_that_the_writer_wrote(tiny_dataset: TinyDataset) -> None:
    for population, entry in tiny_dataset.manifest.populations.items():
        staged = [tiny_dataset.record(path.stem) for path in tiny_dataset.staged[population]]
        expected = planned_shards([(r.training, r.weights.shape[1]) for r in staged], (10_000_000, 15_000_000))
        for split, shards in expected.items():
            for planned_shard, written in zip(shards, entry.splits[split].shards, strict=True):
                assert planned_shard == replace(written, sha256="")
        assert set(expected) == set(entry.splits)


def test_no_split_is_planned_without_trainings() -> None:
    first = next(i for i in range(30) if split_of(training_id("fixed", i)) == "validation")
    assert list(planned_shards([(training_id("fixed", first), 100)])) == ["validation"]
