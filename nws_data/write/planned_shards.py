"""The shards that trainings will fill, to the byte, before any of them is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nws_data.format.manifest import ShardEntry
from nws_data.format.shards import SHARD_SIZES, divide_into_shards, encode_shard_header, shard_key, shard_path, tensor_nbytes
from nws_data.space.identity import parse_id, split_of
from nws_data.space.trajectory import SNAPSHOTS


def planned_shards(
    trainings: Iterable[tuple[str, int]],
    shard_sizes: Sequence[int] = SHARD_SIZES,
    n_existing: Mapping[str, int] | None = None,
    snapshots: Sequence[int] = SNAPSHOTS,
) -> dict[str, tuple[ShardEntry, ...]]:
    """Return the shards of one population by split, as one build of these trainings writes them, without their SHA-256.

    ``trainings`` are id and vector length of each, in plan order; ``n_existing`` the shards that each split has already.
    """
    members: dict[str, list[tuple[str, int]]] = {}
    for training, n_weights in trainings:
        members.setdefault(split_of(training), []).append((training, n_weights))
    planned: dict[str, tuple[ShardEntry, ...]] = {}
    for split, left in members.items():
        before = (n_existing or {}).get(split, 0)
        sizes = [tensor_nbytes(n, len(snapshots)) for _, n in left]
        for i, n in enumerate(divide_into_shards(sizes, before, shard_sizes), before):
            inside, left = left[:n], left[n:]
            (first, _), (last, _) = inside[0], inside[-1]
            population = parse_id(first)[0]
            lengths = {shard_key(parse_id(training)[1]): n for training, n in inside}
            header = encode_shard_header(population, split, lengths, snapshots)
            nbytes = len(header) + sum(tensor_nbytes(n, len(snapshots)) for _, n in inside)
            path = shard_path(population, split, i)
            shard = ShardEntry(path=path, nbytes=nbytes, sha256="", first=first, last=last, n_trainings=n)
            planned[split] = (*planned.get(split, ()), shard)
    return planned
