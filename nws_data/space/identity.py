"""The identity of a training: its id, seed and split follow from (build seed, population, plan index) alone."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from itertools import accumulate
from typing import Literal, cast, get_args

from nws_data.errors import SelectionError, check_one_of
from nws_data.hashing import sha256_of
from nws_data.space.hyperparameters import POPULATIONS, Population

Side = Literal["train", "validation", "test"]
SIDES: tuple[str, ...] = get_args(Side)
"""The sides of tasks and folds."""

NO_SPLIT = "none"
Split = Side | Literal["none"]
SPLITS = (*SIDES, NO_SPLIT)
"""The splits of datasets; ``none`` has imported trainings that are in none of the lists which say the splits."""

UNLISTED_FROM = 500_000
"""Plan index from which on the split is ``none``."""

BLOCKS: dict[str, dict[str, int]] = {
    "fixed": {"train": 18, "validation": 2, "test": 10},
    "random": {"train": 90, "validation": 10, "test": 30},
}
"""Members of each split in every block of consecutive plan indices; gives the paper's Table 2 at full size."""

ID_PATTERN = r"(fixed|random)-([0-9]{6,18})"
"""A regular expression of an id, which must match as a whole."""


def training_id(population: str, index: int) -> str:
    """Return the id of a training, such as ``random-004711``."""
    return f"{population}-{index:06d}"


@lru_cache(maxsize=2**15)
def parse_id(training: str) -> tuple[Population, int]:
    """Return (population, plan index) of an id; raises ``SelectionError`` for another text."""
    match = re.fullmatch(ID_PATTERN, training)
    if not match or training_id(match[1], int(match[2])) != training:
        raise SelectionError(f"not a training id: {training!r}; ids look like random-004711")
    return cast("Population", match[1]), int(match[2])


def id_hash(training: str) -> str:
    """Return SHA-256 of the id in hex: the order in which balanced selections keep trainings."""
    return sha256_of(training.encode())


def training_seed(build_seed: int, population: str, index: int) -> int:
    """Return the training's seed in [0, 2^63): from SHA-256 of build seed, population and plan index."""
    digest = hashlib.sha256(f"nws-seed/{build_seed}/{population}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@lru_cache(maxsize=8192)
def _ranks(kind: str, population: str, block: int, size: int) -> tuple[int, ...]:
    """Ranks of a block's places in the order of SHA-256 of (kind, population, block, place)."""
    names = [f"nws-{kind}/{population}/{block}/{place}".encode() for place in range(size)]
    order = sorted(range(size), key=lambda place: hashlib.sha256(names[place]).digest())
    return tuple(sorted(range(size), key=order.__getitem__))


def split_of(training: str) -> str:
    """Return the split of a training: a property of its id, whatever was built and in whatever order."""
    population, index = parse_id(training)
    if index >= UNLISTED_FROM:
        return NO_SPLIT
    sizes = BLOCKS[population]
    block, place = divmod(index, sum(sizes.values()))
    rank = _ranks("split", population, block, sum(sizes.values()))[place]
    return next(split for split, end in zip(sizes, accumulate(sizes.values()), strict=True) if rank < end)


FOLD_BLOCK = 10
"""Consecutive plan indices that are dealt to folds together: two are tested in each of five."""


def fold_split_of(training: str, fold: int) -> str:
    """Return the side on which a training stands in a fold, 0 to 4, of the unofficial cross-validation.

    Like :func:`split_of` a property of the id. Of every ten plan indices two are tested in each fold, so that five
    folds test each training once; one is for validation and seven are for training. The split ``none`` is in no fold.
    """
    population, index = parse_id(training)
    if index >= UNLISTED_FROM:
        return NO_SPLIT
    block, place = divmod(index, FOLD_BLOCK)
    rank = (_ranks("fold", population, block, FOLD_BLOCK)[place] - 2 * fold) % FOLD_BLOCK
    return "test" if rank < 2 else "validation" if rank == 2 else "train"


def check_population(population: str) -> str:
    """Return the name, or raise ``SelectionError``."""
    check_one_of("population", population, POPULATIONS)
    return population
