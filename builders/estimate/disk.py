"""What a build leaves on disk and needs meanwhile: shards to the byte, tiers as readers will find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builders.plan.trainings import PlannedTraining
from nws_data.errors import SelectionError
from nws_data.format.manifest import Manifest, PopulationEntry, ShardEntry
from nws_data.format.tiers import NAMED_TIERS, choose_tier, tier_bytes
from nws_data.space.architecture import Architecture
from nws_data.space.identity import parse_id, split_of
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.write.planned_shards import planned_shards

Shards = Mapping[str, Sequence[ShardEntry]]
"""Of a population, by split."""


def shards_to_be(plan: Sequence[PlannedTraining], stored: PopulationEntry | None) -> Shards:
    """Return all shards of a population by split: those that are there, and those that the plan's others will fill."""
    entries = stored.splits if stored else {}
    n_stored = stored.n_trainings if stored else 0
    vectors = [(planned.id, Architecture.of(planned.hyperparameters).n_weights) for planned in plan[n_stored:]]
    new = planned_shards(vectors, n_existing={split: len(entry.shards) for split, entry in entries.items()})
    splits = [*entries, *(split for split in new if split not in entries)]
    return {split: (*(entries[split].shards if split in entries else ()), *new.get(split, ())) for split in splits}


def size_of(shards: Shards) -> tuple[int, int]:
    """Return the number of shards and their bytes."""
    flat = [shard for split in shards.values() for shard in split]
    return len(flat), sum(shard.nbytes for shard in flat)


def tiers_of(shards: Shards) -> dict[str, Shards]:
    """Return the shards of each tier that the population is large enough for; the last tier is all of it."""
    found: dict[str, Shards] = {}
    for name in NAMED_TIERS:
        size = tier_bytes(name)
        if size is not None and size >= size_of(shards)[1]:
            continue
        try:
            found[name] = choose_tier(shards, size)
        except SelectionError:  # not even one shard of each split: the tier does not exist here
            continue
    return found


def trainings_in(shards: Shards, plan: Sequence[PlannedTraining]) -> list[PlannedTraining]:
    """Return the trainings of a plan that stand in a tier's shards: of each split those up to its last one."""
    last = {split: parse_id(taken[-1].last)[1] for split, taken in shards.items() if taken}
    return [planned for planned in plan if parse_id(planned.id)[1] <= last.get(split_of(planned.id), -1)]


def staging_bytes(new: Sequence[PlannedTraining]) -> int:
    """Return what finished trainings take that no shard holds yet."""
    return sum(4 * N_SNAPSHOTS * Architecture.of(planned.hyperparameters).n_weights for planned in new)


def bytes_of_others(stored: Manifest | None, populations: Sequence[str]) -> int:
    """Return the bytes of the shards of a dataset's other populations."""
    entries = stored.populations if stored else {}
    return sum(
        size_of({split: entry.shards for split, entry in found.splits.items()})[1]
        for name, found in entries.items()
        if name not in populations
    )
