"""manifest.json: what a dataset holds. It is written last, so its existence means complete."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nws_data.errors import FormatError, NWSError
from nws_data.space.identity import SPLITS, check_population, parse_id
from nws_data.space.image_sets import ImageSet
from nws_data.space.trajectory import N_SNAPSHOTS
from nws_data.storage.atomic import write_bytes
from nws_data.storage.shards import FORMAT_VERSION

MANIFEST = "manifest.json"
FORMAT = "nws"


_DIGEST = re.compile(r"[0-9a-f]{64}")


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

    @property
    def n_snapshots(self) -> int:
        """Snapshots in all shards: 20 per training."""
        return N_SNAPSHOTS * self.n_trainings


@dataclass(frozen=True, kw_only=True)
class PopulationEntry:
    """One population: its plan and those splits that have trainings, in the order train, validation, test."""

    plan: dict[str, Any]  # everything that decides what a training is, but their number
    splits: dict[str, SplitEntry]

    @property
    def n_trainings(self) -> int:
        """Trainings in all splits."""
        return sum(split.n_trainings for split in self.splits.values())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole of manifest.json, format version 1."""

    data_digest: str  # see data_digest()
    image_sets: tuple[ImageSet, ...]  # in the label order of the column ``dataset``
    populations: dict[str, PopulationEntry]
    trainings: dict[str, str]  # split: path of metadata/trainings
    provenance: str  # path
    sha256: dict[str, str]  # of every Parquet file

    @property
    def shards(self) -> list[ShardEntry]:
        """All shards of all populations and splits."""
        return [shard for p in self.populations.values() for split in p.splits.values() for shard in split.shards]

    @property
    def metadata_files(self) -> list[str]:
        """Paths of all Parquet files: populations, trainings, provenance."""
        snapshots = [split.metadata for p in self.populations.values() for split in p.splits.values()]
        return [*snapshots, *self.trainings.values(), self.provenance]

    @property
    def file_sha256(self) -> dict[str, str]:
        """SHA-256 in hex of every shard and Parquet file, by path."""
        return {shard.path: shard.sha256 for shard in self.shards} | self.sha256

    def digest(self) -> str:
        """Return the data digest that follows from the entries."""
        return data_digest(self.file_sha256, self.provenance)

    def population_digest(self, name: str) -> str:
        """Return which data a population is, whatever else the dataset holds: what results name.

        SHA-256 over the lines ``<sha256>  <path>`` of its shards and snapshot tables, sorted by path, and
        ``<threshold>  <image set>`` of the image sets in its plan, in their order.
        """
        entry = self.populations[name]
        paths = [path for s in entry.splits.values() for path in (s.metadata, *(shard.path for shard in s.shards))]
        lines = [f"{self.file_sha256[path]}  {path}\n" for path in sorted(paths)]
        listed = entry.plan.get("image_sets", [])  # pairs of name and digest; `nws verify` names what is none
        pairs = listed if isinstance(listed, list) else []
        trained_on = {pair[0] for pair in pairs if isinstance(pair, list) and pair and isinstance(pair[0], str)}
        lines += [f"{s.threshold!r}  {s.name}\n" for s in self.image_sets if s.name in trained_on]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the JSON text of manifest.json."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "data_digest": self.data_digest,
            "image_sets": [asdict(image_set) for image_set in self.image_sets],
            "populations": {name: _population_to_json(entry) for name, entry in sorted(self.populations.items())},
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
            raw = (root / MANIFEST).read_bytes()
        except OSError as error:
            raise FormatError(
                f"{root}: no {MANIFEST} ({error.strerror}): not an NWS dataset, or its build has not finished; "
                "give the folder that holds manifest.json, or run the same `nws build` again"
            ) from error
        return parse_manifest(raw, str(root / MANIFEST))


def data_digest(sha256: Mapping[str, str], provenance: str) -> str:
    """Return SHA-256 over the lines ``<sha256>  <path>`` of all files but provenance, sorted by path."""
    lines = (f"{sha256[path]}  {path}\n" for path in sorted(sha256) if path != provenance)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def parse_manifest(raw: bytes, name: str) -> Manifest:
    """Build a manifest from its JSON text; ``name`` stands in messages. Raises ``FormatError``."""
    try:
        content = json.loads(raw)
        _check_version(content, name)
        manifest = Manifest(
            data_digest=content["data_digest"],
            image_sets=tuple(ImageSet(**values) for values in content["image_sets"]),
            populations={check_population(p): _population_from_json(v) for p, v in content["populations"].items()},
            trainings=dict(content["trainings"]),
            provenance=content["provenance"],
            sha256=dict(content["sha256"]),
        )
        _check_paths([*manifest.file_sha256, *manifest.metadata_files])
        _check_digests([manifest.data_digest, *manifest.file_sha256.values()])
        return manifest
    except FormatError:
        raise
    except (NWSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"{name}: not a readable manifest ({error!r}); fetch it again or rebuild the dataset") from error


def _check_paths(paths: Iterable[str]) -> None:
    """Raise ``ValueError`` for a path that leads out of the dataset's folder."""
    for path in paths:
        path.encode()  # a lone surrogate is no name of a file
        if path.startswith("/") or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise ValueError(f"{path!r} is not a path inside the dataset")


def _check_digests(digests: Iterable[Any]) -> None:
    """Raise ``ValueError`` for something that is no SHA-256 in hex."""
    for digest in digests:
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no SHA-256")


def _check_version(content: Mapping[str, Any], name: str) -> None:
    if content.get("format") != FORMAT:
        raise FormatError(f"{name}: format must be {FORMAT!r}, got {content.get('format')!r}: not an NWS dataset")
    if content.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"{name}: format version {content.get('format_version')!r}, this nws_data reads version {FORMAT_VERSION}; "
            "install a matching nws-data"
        )


def _population_to_json(entry: PopulationEntry) -> dict[str, Any]:
    splits = {name: _split_to_json(entry.splits[name]) for name in SPLITS if name in entry.splits}
    return {"plan": entry.plan, "n_trainings": entry.n_trainings, "splits": splits}


def _split_to_json(entry: SplitEntry) -> dict[str, Any]:
    counts = {"n_trainings": entry.n_trainings, "n_snapshots": entry.n_snapshots}
    return counts | {"metadata": entry.metadata, "shards": [_shard_to_json(shard) for shard in entry.shards]}


def _shard_to_json(shard: ShardEntry) -> dict[str, Any]:
    values = {"path": shard.path, "nbytes": shard.nbytes, "sha256": shard.sha256}
    return values | {"trainings": [shard.first, shard.last], "n_trainings": shard.n_trainings}


def _population_from_json(values: Mapping[str, Any]) -> PopulationEntry:
    if "build_seed" not in values["plan"]:
        raise ValueError("a plan has no build_seed")
    dict(values["plan"].get("image_sets", ()))  # pairs of name and digest
    if not isinstance(values["plan"].get("compute_path", ""), str | None):
        raise ValueError(f"compute_path must be a name, got {values['plan']['compute_path']!r}")
    splits = {name: _split_from_json(values["splits"][name]) for name in SPLITS if name in values["splits"]}
    entry = PopulationEntry(plan=dict(values["plan"]), splits=splits)
    _check_count(entry.n_trainings, values["n_trainings"])
    return entry


def _split_from_json(values: Mapping[str, Any]) -> SplitEntry:
    entry = SplitEntry(metadata=values["metadata"], shards=tuple(_shards_from_json(values["shards"])))
    _check_count(entry.n_trainings, values["n_trainings"])
    return entry


def _shards_from_json(shards: Iterable[Mapping[str, Any]]) -> Iterable[ShardEntry]:
    for values in shards:
        first, last = values["trainings"]
        parse_id(first), parse_id(last)
        rest = {name: values[name] for name in ("path", "nbytes", "sha256", "n_trainings")}
        for name in ("nbytes", "n_trainings"):
            if type(rest[name]) is not int or rest[name] < 0:
                raise ValueError(f"{name} of a shard must be a count, got {rest[name]!r}")
        yield ShardEntry(first=first, last=last, **rest)


def _check_count(counted: int, recorded: int) -> None:
    if counted != recorded:
        raise ValueError(f"n_trainings is {recorded}, its shards hold {counted}")
