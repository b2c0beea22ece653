"""Tiers: which shards of a population a size such as ``1GB`` stands for (FORMAT.md, "Tiers").

Plan indices are random draws and shards fill in plan order, so the first shards of each split are a fair sample of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nws_data.errors import SelectionError
from nws_data.format.manifest import ShardEntry
from nws_data.space.identity import SPLITS, parse_id

FULL = "full"
"""The tier that holds everything."""

NAMED_TIERS = ("1GB", "10GB", FULL)
"""The tiers that people speak of; any other size is one too."""

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(?P<number>\d{1,6}(\.\d{1,6})?) ?(?P<unit>[MGT]B)", re.IGNORECASE | re.ASCII)


def tier_bytes(tier: str) -> int | None:
    """Return the bytes of shard files that a tier may have, ``None`` for ``full``.

    Others are a number and MB, GB or TB (powers of 1,000), such as ``500MB``; capitals do not matter. Raises
    ``SelectionError`` for anything else.
    """
    text = tier.strip() if isinstance(tier, str) else ""
    if text.lower() == FULL:
        return None
    match = _SIZE.fullmatch(text)
    if not match or float(match["number"]) == 0:
        raise SelectionError(
            f"tier: got {tier!r}; give {', '.join(NAMED_TIERS)}, or another size: a number and MB, GB or TB, such as 500MB"
        )
    return round(float(match["number"]) * _UNITS[match["unit"].upper()])


def tier_name(tier: str) -> str:
    """Return a tier's one spelling, such as ``1.5GB``; raises ``SelectionError`` as :func:`tier_bytes`."""
    size = tier_bytes(tier)
    if size is None:
        return FULL
    unit = max((u for u, n in _UNITS.items() if size >= n), key=_UNITS.__getitem__, default="MB")
    return f"{size / _UNITS[unit]:.12g}{unit}"


def tier_order(splits: Mapping[str, Sequence[ShardEntry]]) -> list[tuple[str, ShardEntry]]:
    """Return split and shard of all shards of one population, in the order in which tiers take them.

    The first shard of every split comes first, so that no split is missing. Then the shards follow by the middle of their
    trainings, first plus last plan index: splits are dealt out evenly over the plan indices, so each split is taken in
    its share, as closely as shard borders allow. An extended dataset has its new shards behind the old ones.
    """
    found = [
        (i > 0, parse_id(shard.first)[1] + parse_id(shard.last)[1], SPLITS.index(split), split, shard)
        for split, shards in splits.items()
        for i, shard in enumerate(shards)
    ]
    return [(split, shard) for *_, split, shard in sorted(found, key=lambda item: item[:3])]


def choose_tier(splits: Mapping[str, Sequence[ShardEntry]], size: int | None) -> dict[str, tuple[ShardEntry, ...]]:
    """Return the shards of a tier by split, a prefix of each: the longest beginning of :func:`tier_order` that fits.

    ``splits`` are the shards of one population, each in plan order, none empty; ``size`` is of :func:`tier_bytes`. A larger
    size gives the same shards and perhaps more. Raises ``SelectionError`` where not even the first shards of all splits fit.
    """
    order = tier_order(splits)
    if size is None or not order:
        return {split: tuple(shards) for split, shards in splits.items()}
    smallest = sum(shard.nbytes for _, shard in order[: len(splits)])
    if size < smallest:
        enough, population = f"{-(-smallest // _UNITS['MB'])}MB", parse_id(order[0][1].first)[0]
        raise SelectionError(
            f"tier: {size / _UNITS['MB']:g} MB are too few for one shard of each split of {population}: the smallest tier "
            f"is {enough!r}"
        )
    chosen: dict[str, list[ShardEntry]] = {split: [] for split in splits}
    total = 0
    for split, shard in order:
        total += shard.nbytes
        if total > size:
            break
        chosen[split].append(shard)
    return {split: tuple(shards) for split, shards in chosen.items()}
