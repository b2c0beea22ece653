"""The shards that trainings will fill, to the byte, before any of them is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nws_data.format.shards import SHARD_SIZES, divide_into_shards, encode_shard_header, shard_key, shard_path, tensor_nbytes
from nws_data.space.identity import SPLITS, parse_id, split_of


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """One shard to come."""

    path: str  # inside the dataset
    nbytes: int  # of the file
    first: str  # id of its first training
    last: str
    n_trainings: int


def planned_shards(
    trainings: Iterable[tuple[str, int]],
    shard_sizes: Sequence[int] = SHARD_SIZES,
    n_existing: Mapping[str, int] | None = None,
) -> dict[str, tuple[PlannedShard, ...]]:
    """Return the shards of one population by split, as one build of these trainings writes them.

    Args:
        trainings: id and vector length of each, in plan order.
        shard_sizes: bytes at which a split's shards are closed, the last one repeating.
        n_existing: shards that each split has already.
    """
    members: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for training, n_weights in trainings:
        members[split_of(training)].append((training, n_weights))
    before = n_existing or {}
    return {split: _shards(split, found, shard_sizes, before.get(split, 0)) for split, found in members.items() if found}


def _shards(
    split: str, members: list[tuple[str, int]], shard_sizes: Sequence[int], n_existing: int
) -> tuple[PlannedShard, ...]:
    shards: list[PlannedShard] = []
    start = 0
    for count in divide_into_shards([tensor_nbytes(n) for _, n in members], n_existing, shard_sizes):
        inside = members[start : start + count]
        start += count
        population = parse_id(inside[0][0])[0]
        header = encode_shard_header(population, split, {shard_key(parse_id(training)[1]): n for training, n in inside})
        shards.append(
            PlannedShard(
                path=shard_path(population, split, n_existing + len(shards)),
                nbytes=len(header) + sum(tensor_nbytes(n) for _, n in inside),
                first=inside[0][0],
                last=inside[-1][0],
                n_trainings=count,
            )
        )
    return tuple(shards)
