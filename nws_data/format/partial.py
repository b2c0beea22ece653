"""Folders that hold some of a dataset's shards: where they were pulled from, what is here, how to get more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, SelectionError
from nws_data.format.manifest import Manifest, ShardEntry
from nws_data.format.shards import check_shard_path
from nws_data.format.tiers import FULL, NAMED_TIERS, choose_tier, tier_bytes
from nws_data.format.untrusted import parse_json, read_file

PULLED = ".nws-pulled"
"""Hidden file of a folder that was filled from the hub."""

REPOSITORY_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Regular expression of ``owner/name`` on the hub."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What ``.nws-pulled`` says: other shards than these are missing on purpose."""

    repository: str  # owner/name on the hub
    commit: str
    shards: tuple[str, ...]  # paths of the shards that were asked for and came

    @classmethod
    def load(cls, root: Path) -> Pulled | None:
        """Return what a folder's file says, ``None`` where there is none; raises ``FormatError`` when it is damaged."""
        try:
            values = parse_json(read_file(root / PULLED))
            repository, commit, shards = values["repository"], values["commit"], tuple(values["shards"])
            if not re.fullmatch(REPOSITORY_NAME, repository) or not re.fullmatch("[0-9a-f]{40}", commit):
                raise ValueError("its repository or commit is none")
            for path in shards:
                check_shard_path(path)
            return cls(repository=repository, commit=commit, shards=shards)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, LookupError, FormatError) as error:
            raise FormatError(f"{root / PULLED} is damaged ({str(error)[:200]}); remove it and pull again") from error

    def save(self, root: Path) -> None:
        """Write the file atomically; raises ``BuildError``."""
        write_bytes(root / PULLED, (json.dumps(asdict(self), indent=1) + "\n").encode())


def restricted(manifest: Manifest, tier: str) -> Manifest:
    """Return the manifest with the shards of a tier of every population; ``SelectionError`` where it is not a size."""
    size = tier_bytes(tier)
    populations = {}
    for name, entry in manifest.populations.items():
        chosen = choose_tier({split: stored.shards for split, stored in entry.splits.items()}, size)
        splits = {split: replace(stored, shards=chosen[split]) for split, stored in entry.splits.items()}
        populations[name] = replace(entry, splits=splits)
    return replace(manifest, populations=populations)


def wanted_shards(root: Path, manifest: Manifest) -> list[ShardEntry]:
    """Return the shards that should be in a folder: all, or those that were pulled into it and others that are there."""
    pulled = Pulled.load(root)
    if pulled is None:
        return manifest.shards
    return [shard for shard in manifest.shards if shard.path in pulled.shards or (root / shard.path).is_file()]


@dataclass(frozen=True, kw_only=True)
class Presence:
    """How much of a population is in a folder."""

    n_shards: int
    n_trainings: int
    n_bytes: int  # of the shard files
    tiers: tuple[str, ...]  # named tiers of which nothing is missing


def presence(root: Path, splits: Mapping[str, Sequence[ShardEntry]]) -> Presence:
    """Count what is here of one population."""
    here = [shard for shards in splits.values() for shard in shards if (root / shard.path).is_file()]
    held, tiers = {shard.path for shard in here}, []
    for tier in NAMED_TIERS:
        with suppress(SelectionError):  # one shard of each split is more than that
            chosen = choose_tier(splits, tier_bytes(tier))
            tiers += [tier] if all(shard.path in held for shards in chosen.values() for shard in shards) else []
    return Presence(
        n_shards=len(here),
        n_trainings=sum(shard.n_trainings for shard in here),
        n_bytes=sum(shard.nbytes for shard in here),
        tiers=tuple(tiers),
    )


def missing_shard(root: Path, path: str) -> str:
    """Return the message about a shard, by its path inside the dataset, that is to be read and not here."""
    population = PurePosixPath(path).parent.name
    return f"{root / path}: the shard is missing; {how_to_get(root, population)}; or open another split or tier"


def how_to_get(root: Path, population: str, tier: str = FULL) -> str:
    """Return the next step of a message about shards that are not here."""
    pulled = Pulled.load(root)
    if pulled is None:
        return f"fetch what `nws verify {root}` names"
    if root.name == pulled.commit:  # a snapshot in the hub's cache
        return f"nws_data.open({pulled.repository!r}, {population!r}, tier={tier!r}) fetches what is missing"
    return f"`nws pull {pulled.repository} --population {population} --tier {tier} --out {root}` fetches what is missing"
