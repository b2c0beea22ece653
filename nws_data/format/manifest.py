"""manifest.json: what a dataset holds. It is written last, so its existence means complete."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from nws_data.arguments import check_text
from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, NWSError
from nws_data.format.shards import shard_path
from nws_data.format.untrusted import parse_json, read_file
from nws_data.format.versions import reader_of, version_for
from nws_data.hashing import sha256_of
from nws_data.space.identity import SPLITS, check_population, parse_id, split_of
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import SNAPSHOTS, check_snapshots

MANIFEST = "manifest.json"
FORMAT = "nws"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLAN_TYPES: dict[str, Any] = {
    "build_seed": int | None,
    "sampling": int,
    "epoch_cap": int,
    "batch_norm": bool,
    "precision": str,
    "compute_path": str,
    "generator": str,
    "evaluation": str,
    "unlisted_from": int,
}
# Of a shard's file, for each snapshot and in all: shards are closed at 512 MB.
_LEAST_NBYTES, _MOST_NBYTES = 4 * 10_000, 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard file."""

    path: str  # inside the dataset, with "/"
    nbytes: int  # of the file
    sha256: str
    first: str  # id of its first training
    last: str
    n_trainings: int


@dataclass(frozen=True, kw_only=True)
class SplitEntry:
    """One split of a population: its metadata file and its shards in plan order."""

    metadata: str
    shards: tuple[ShardEntry, ...]

    @property
    def n_trainings(self) -> int:
        """Trainings in all shards."""
        return sum(shard.n_trainings for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class PopulationEntry:
    """One population: its plan and those splits that have trainings, in the order of ``SPLITS``."""

    plan: dict[str, Any]  # everything that decides what a training is, but their number
    splits: dict[str, SplitEntry]

    @property
    def n_trainings(self) -> int:
        """Trainings in all splits."""
        return sum(split.n_trainings for split in self.splits.values())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole of manifest.json."""

    image_sets: tuple[ImageSet, ...]  # in the label order of the column ``dataset``
    populations: dict[str, PopulationEntry]
    trainings: dict[str, str]  # split: path of metadata/trainings
    provenance: str  # path
    sha256: dict[str, str]  # of every Parquet file
    snapshots: tuple[int, ...] = SNAPSHOTS  # numbers of those that the dataset holds of each training, ascending

    @property
    def format_version(self) -> int:
        """The version in which it is written."""
        return version_for(self.trainings, self.snapshots)

    @property
    def default_population(self) -> str:
        """What is opened without a name: ``fixed`` where present, else ``random``."""
        return "fixed" if "fixed" in self.populations else "random"

    @property
    def shards(self) -> list[ShardEntry]:
        """All shards of all populations and splits."""
        return [shard for p in self.populations.values() for split in p.splits.values() for shard in split.shards]

    def n_rows(self, path: str) -> int:
        """Return how many rows a Parquet file has, by its path."""
        entries = [(split, stored) for p in self.populations.values() for split, stored in p.splits.items()]
        snapshots = {stored.metadata: len(self.snapshots) * stored.n_trainings for _, stored in entries}
        if path in snapshots:
            return snapshots[path]
        return sum(s.n_trainings for split, s in entries if path in (self.trainings.get(split), self.provenance))

    @property
    def file_sha256(self) -> dict[str, str]:
        """SHA-256 in hex of every shard and Parquet file, by path."""
        return {shard.path: shard.sha256 for shard in self.shards} | self.sha256

    @cached_property
    def data_digest(self) -> str:
        """See :func:`data_digest`."""
        return data_digest(self.file_sha256, self.provenance)

    def population_digest(self, name: str) -> str:
        """Return which data a population is, whatever else the dataset holds: what results name.

        SHA-256 over the lines ``<sha256>  <path>`` of its shards and snapshot tables, sorted by path, and
        ``<threshold>  <image set>`` of the image sets in its plan, in their order.
        """
        entry = self.populations[name]
        paths = [path for s in entry.splits.values() for path in (s.metadata, *(shard.path for shard in s.shards))]
        files = self.file_sha256
        trained_on = {name for name, _ in entry.plan.get("image_sets", [])}
        image_sets = "".join(f"{s.threshold!r}  {s.name}\n" for s in self.image_sets if s.name in trained_on)
        return sha256_of((checksum_lines({path: files[path] for path in paths}) + image_sets).encode())

    def to_bytes(self) -> bytes:
        """Return the JSON text of manifest.json."""
        populations: dict[str, Any] = {}
        for name, entry in sorted(self.populations.items()):
            stored = {split: entry.splits[split] for split in SPLITS if split in entry.splits}
            splits = {split: _split_to_json(found, len(self.snapshots)) for split, found in stored.items()}
            populations[name] = {"plan": entry.plan, "n_trainings": entry.n_trainings, "splits": splits}
        content = {
            "format": FORMAT,
            "format_version": self.format_version,
            **({"snapshots": self.snapshots} if self.format_version >= 2 else {}),
            "data_digest": self.data_digest,
            "image_sets": [asdict(image_set) for image_set in self.image_sets],
            "populations": populations,
            "trainings": self.trainings,
            "provenance": self.provenance,
            "sha256": dict(sorted(self.sha256.items())),
        }
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()

    def save(self, root: Path) -> None:
        """Write ``root/manifest.json`` atomically; raises ``BuildError``."""
        write_bytes(root / MANIFEST, self.to_bytes())

    @classmethod
    def load(cls, root: Path) -> Manifest:
        """Read ``root/manifest.json``; raises ``FormatError`` when missing, foreign or of an unknown version."""
        try:
            raw = read_file(root / MANIFEST)
        except OSError as error:
            raise FormatError(
                f"{root}: no {MANIFEST} ({error.strerror}): not an NWS dataset, or its build has not finished; "
                "give the folder that holds manifest.json, or run the same `nws build` again"
            ) from error
        return parse_manifest(raw, str(root / MANIFEST))


def checksum_lines(sha256: Mapping[str, str]) -> str:
    """Return lines of SHA-256 by path as SHA256SUMS has them and ``sha256sum -c`` reads them, sorted by path."""
    return "".join(f"{sha256[path]}  {path}\n" for path in sorted(sha256))


def data_digest(sha256: Mapping[str, str], provenance: str) -> str:
    """Return SHA-256 over the :func:`checksum_lines` of all files but provenance."""
    return sha256_of(checksum_lines({path: digest for path, digest in sha256.items() if path != provenance}).encode())


def parse_manifest(raw: bytes, name: str) -> Manifest:
    """Build a manifest from its JSON text; ``name`` stands in messages.

    Raises ``FormatError`` where it is not what FORMAT.md says: types, names, digests and counts that follow from each other.
    """
    try:
        content = parse_json(raw)
        if content.get("format") != FORMAT:
            raise FormatError(f"{name}: format must be {FORMAT!r}, got {content.get('format')!r:.40}: not an NWS dataset")
        content = reader_of(content.get("format_version"), name)(content)
        manifest = Manifest(
            image_sets=tuple(ImageSet(**values) for values in content["image_sets"]),
            populations={check_population(p): _population_from_json(p, v) for p, v in content["populations"].items()},
            trainings=dict(content["trainings"]),
            provenance=content["provenance"],
            sha256={path: _digest(sha256) for path, sha256 in content["sha256"].items()},
            snapshots=check_snapshots(content["snapshots"]),
        )
        _check_consistency(manifest)
        if content["data_digest"] != manifest.data_digest:
            raise ValueError("data_digest is not that of its entries")
        return manifest
    except FormatError as error:
        raise error if str(error).startswith(name) else FormatError(f"{name}: {error}") from None
    except (NWSError, ValueError, TypeError, KeyError, AttributeError) as error:
        text = f"{type(error).__name__} {error}" if isinstance(error, KeyError | TypeError | AttributeError) else str(error)
        raise FormatError(
            f"{name}: not a readable manifest ({text[:400]}); fetch it again or rebuild the dataset"
        ) from error


def _check_consistency(manifest: Manifest) -> None:
    """Raise ``ValueError`` for what contradicts itself: names follow from population, split, number and digest."""
    stems = {manifest.provenance: "metadata/provenance/trainings"}
    stems |= {path: f"metadata/trainings/{split}-00000-of-00001" for split, path in manifest.trainings.items()}
    splits = [(name, split, stored) for name, e in manifest.populations.items() for split, stored in e.splits.items()]
    for population, split, stored in splits:
        stems[stored.metadata] = f"metadata/{population}/{split}-00000-of-00001"
        for i, shard in enumerate(stored.shards):
            if shard.path != shard_path(population, split, i):
                raise ValueError(f"shard {i} of {population}/{split} must be named {shard_path(population, split, i)}")
            if not len(manifest.snapshots) * shard.n_trainings * _LEAST_NBYTES <= shard.nbytes <= _MOST_NBYTES:
                raise ValueError(f"a shard of {shard.n_trainings} trainings cannot have {shard.nbytes} bytes")
    if not splits or {split for _, split, _ in splits} != set(manifest.trainings):
        raise ValueError("there must be a table of trainings for every split that has shards, and no other")
    if stems.keys() != manifest.sha256.keys():
        raise ValueError("sha256 must name exactly the Parquet files")
    for path, stem in stems.items():
        if path != (right := f"{stem}-{manifest.sha256[path][:12]}.parquet"):
            raise ValueError(f"a Parquet file must be named {right}, by its SHA-256")
    known = {image_set.name: image_set.digest for image_set in manifest.image_sets}
    if len(known) < len(manifest.image_sets):
        raise ValueError("an image set is listed twice")
    for population, entry in manifest.populations.items():
        for image_set, digest in entry.plan.get("image_sets", ()):
            if known.get(image_set) != digest:
                raise ValueError(f"plan of {population}: image_sets lists no {image_set} with its digest")


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{check_text(value, 'a digest')!r} is no SHA-256")
    return value


def _split_to_json(entry: SplitEntry, n_snapshots: int) -> dict[str, Any]:
    shards = [
        {
            "path": s.path,
            "nbytes": s.nbytes,
            "sha256": s.sha256,
            "trainings": [s.first, s.last],
            "n_trainings": s.n_trainings,
        }
        for s in entry.shards
    ]
    counts = {"n_trainings": entry.n_trainings, "n_snapshots": n_snapshots * entry.n_trainings}
    return counts | {"metadata": entry.metadata, "shards": shards}


def _population_from_json(name: str, values: Mapping[str, Any]) -> PopulationEntry:
    splits = {split: _split_from_json(name, split, values["splits"][split]) for split in SPLITS if split in values["splits"]}
    if splits.keys() != values["splits"].keys() or not splits:
        raise ValueError(f"{name}: splits must be of {', '.join(SPLITS)}")
    entry = PopulationEntry(plan=_plan_from_json(name, values["plan"]), splits=splits)
    counts = [(entry.n_trainings, values["n_trainings"])]
    counts += [(stored.n_trainings, values["splits"][split]["n_trainings"]) for split, stored in splits.items()]
    for counted, recorded in counts:
        if counted != recorded:
            raise ValueError(f"n_trainings is {recorded!r}, its shards hold {counted}")
    return entry


def _plan_from_json(population: str, values: Mapping[str, Any]) -> dict[str, Any]:
    plan = dict(values)
    if "build_seed" not in plan:
        raise ValueError(f"plan of {population}: no build_seed")
    for key, value in plan.items():
        check_text(key, f"plan of {population}: a key")
        pairs = list(value) if key == "image_sets" else []
        kind = list if key == "image_sets" else _PLAN_TYPES.get(key, bool | int | float | str | None)
        if not isinstance(value, kind) or (isinstance(value, bool) and _PLAN_TYPES.get(key, bool) is not bool):
            raise ValueError(f"plan of {population}: {key} cannot be {value!r}"[:200])
        for text in (value,) if isinstance(value, str) else (part for name, digest in pairs for part in (name, digest)):
            check_text(text, f"plan of {population}: {key}")
    return plan


def _split_from_json(population: str, split: str, values: Mapping[str, Any]) -> SplitEntry:
    shards = tuple(_shard_from_json(population, split, shard) for shard in values["shards"])
    if not shards or any(parse_id(a.last) >= parse_id(b.first) for a, b in pairwise(shards)):
        raise ValueError(f"shards of {population}/{split} must follow each other in plan order, and there must be one")
    return SplitEntry(metadata=values["metadata"], shards=shards)


def _shard_from_json(population: str, split: str, values: Mapping[str, Any]) -> ShardEntry:
    first, last = values["trainings"]
    span = parse_id(last)[1] - parse_id(first)[1] + 1
    for training in (first, last):
        if parse_id(training)[0] != population or split_of(training) != split:
            raise ValueError(f"a shard of {population}/{split} cannot hold {training}")
    n_trainings, nbytes = values["n_trainings"], values["nbytes"]
    if type(n_trainings) is not int or type(nbytes) is not int or not 1 <= n_trainings <= span:
        raise ValueError(f"n_trainings of a shard with {first} to {last} cannot be {n_trainings!r}")
    sha256 = _digest(values["sha256"])
    return ShardEntry(path=values["path"], nbytes=nbytes, sha256=sha256, first=first, last=last, n_trainings=n_trainings)
