"""What a build leaves on disk and needs meanwhile: shards to the byte, tiers as readers will find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builders.plan.trainings import PlannedTraining
from nws_data.errors import SelectionError
from nws_data.format.manifest import PopulationEntry
from nws_data.format.tiers import NAMED_TIERS, TierShard, choose_tier, tier_bytes
from nws_data.space.architecture import Architecture
from nws_data.space.identity import parse_id, split_of
from nws_data.write.planned_shards import planned_shards


@dataclass(frozen=True)
class Tier:
    """What a tier of a population holds, once it is built."""

    name: str
    n_shards: int
    nbytes: int
    n_trainings: int
    last: dict[str, int]  # plan index of the last training of each split

    def holds(self, training: str) -> bool:
        """Whether a training of the population is in the tier."""
        return parse_id(training)[1] <= self.last.get(split_of(training), -1)


def shards_to_be(plan: Sequence[PlannedTraining], stored: PopulationEntry | None) -> dict[str, tuple[TierShard, ...]]:
    """Return all shards of a population by split: those that are there, and those that the plan's others will fill."""
    entries = stored.splits if stored else {}
    n_stored = stored.n_trainings if stored else 0
    vectors = [(planned.id, Architecture.of(planned.hyperparameters).n_weights) for planned in plan[n_stored:]]
    new = planned_shards(vectors, n_existing={split: len(entry.shards) for split, entry in entries.items()})
    splits = [*entries, *(split for split in new if split not in entries)]
    return {split: (*(entries[split].shards if split in entries else ()), *new.get(split, ())) for split in splits}


def tiers_of(shards: Mapping[str, Sequence[TierShard]], plan: Sequence[PlannedTraining]) -> list[Tier]:
    """Return the tiers that the population is large enough for; the last one is all of it."""
    found: list[Tier] = []
    everything = sum(shard.nbytes for split in shards.values() for shard in split)
    for name in NAMED_TIERS:
        size = tier_bytes(name)
        if size is not None and size >= everything:
            continue
        try:
            chosen = choose_tier(shards, size)
        except SelectionError:  # not even one shard of each split: the tier does not exist here
            continue
        last = {split: parse_id(taken[-1].last)[1] for split, taken in chosen.items() if taken}
        flat = [shard for taken in chosen.values() for shard in taken]
        tier = Tier(name, len(flat), sum(shard.nbytes for shard in flat), 0, last)
        n = sum(tier.holds(planned.id) for planned in plan)
        found.append(Tier(tier.name, tier.n_shards, tier.nbytes, n, last))
    return found
