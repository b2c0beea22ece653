"""The trainings of a dataset as sources for the writer, checked on the way: damage must not get new checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nws_data.convert.cards import derived_card
from nws_data.errors import BuildError, FormatError
from nws_data.format.manifest import MANIFEST, Manifest, ShardEntry
from nws_data.format.metadata import TRAINING_SCHEMA, Row, facts_from_rows, read_table
from nws_data.format.records import TrainingFacts
from nws_data.format.shards import Position, read_header, shard_key
from nws_data.hashing import file_sha256
from nws_data.progress import Progress
from nws_data.space.identity import parse_id
from nws_data.space.image_sets import ImageSet
from nws_data.write.writer import write_dataset


@dataclass(frozen=True)
class StoredTraining:
    """One training of a dataset, a source for the writer. Raises ``FormatError`` for a damaged shard."""

    facts: TrainingFacts
    shard: ShardEntry
    dataset: StoredDataset
    snapshots: tuple[int, ...]  # which of the dataset's snapshots are read
    files: ClassVar[tuple[Path, ...]] = ()  # a shard is read whole before, for its checksum

    @property
    def origin(self) -> str:
        """See :class:`nws_data.write.sources.Source`."""
        return f"{self.dataset.root}: {self.facts.training}"

    @property
    def fingerprint(self) -> str:
        """See :class:`nws_data.write.sources.Source`."""
        return repr((self.shard.sha256, self.facts))

    def weights(self) -> np.ndarray:
        """Read the weights, float32 ``(snapshots, n_weights)``."""
        path, positions = self.dataset.checked(self.shard)
        held = self.dataset.manifest.snapshots
        key, n = shard_key(self.facts.plan_index), self.facts.architecture.n_weights
        if key not in positions or positions[key].n_weights != n:
            raise FormatError(
                f"{path}: holds no {key} of {n:,} values a snapshot; `nws verify {self.dataset.root}` says more"
            )
        try:
            values = np.fromfile(path, "<f4", len(held) * n, offset=positions[key].offset)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror or error}); fetch it again") from error
        return values.reshape(-1, n)[[held.index(number) for number in self.snapshots]]


class StoredDataset:
    """A dataset whose trainings are copied or compared. Raises ``FormatError`` for damaged metadata."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.manifest = Manifest.load(self.root)
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in self.manifest.populations}  # by population and id
        columns = [name for name in TRAINING_SCHEMA.names if name not in ("layers", "n_weights", "n_weights_conv")]
        for path in self.manifest.trainings.values():
            for row in read_table(self.root, self.manifest, path, columns).to_pylist():
                if row["population"] not in self.rows:
                    raise FormatError(f"{self.root / path}: {MANIFEST} has no population {row['population']}")
                self.rows[row["population"]][row["training"]] = row
        for name, rows in self.rows.items():
            if not rows or any(parse_id(training)[0] != name for training in rows):
                raise FormatError(
                    f"{self.root}: the tables of trainings have none of population {name}, or others under its name; "
                    f"`nws verify {self.root}` says more"
                )
        table = read_table(self.root, self.manifest, self.manifest.provenance)
        self._provenance: dict[str, Row] = {row["training"]: row for row in table.to_pylist()}
        self.checked = lru_cache(maxsize=None)(self._checked)

    def source(self, training: str, snapshots: Sequence[int] = ()) -> StoredTraining:
        """Return a training of :attr:`rows`, of which these snapshots are read; by default all that are here."""
        population, index = parse_id(training)
        row = self.rows[population][training]
        stored = self.manifest.populations[population].splits.get(row["split"])
        for shard in stored.shards if stored else ():
            if parse_id(shard.first)[1] <= index <= parse_id(shard.last)[1] and training in self._provenance:
                numbers = tuple(snapshots) or self.manifest.snapshots
                return StoredTraining(facts_from_rows(row, self._provenance[training]), shard, self, numbers)
        raise FormatError(f"{self.root}: {training} is in no shard; `nws verify {self.root}` says more")

    def _checked(self, shard: ShardEntry) -> tuple[Path, Mapping[str, Position]]:
        """Return a shard's file and what it holds, its bytes compared with the manifest."""
        path = self.root / shard.path
        header = read_header(path)
        if header.snapshots != self.manifest.snapshots:
            raise FormatError(f"{path}: holds other snapshots than {MANIFEST} says; `nws verify {self.root}` says more")
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror or error}); fetch it again") from error
        if sha256 != shard.sha256:
            raise FormatError(f"{path}: altered: its SHA-256 is not the recorded one; remove it, then `nws pull`")
        return path, header.positions


def write_copy(
    out: Path,
    image_sets: Sequence[ImageSet],
    populations: Mapping[str, tuple[Mapping[str, Any], Sequence[StoredTraining]]],
    progress: Progress | None,
) -> Manifest:
    """Write trainings of datasets, all of the same snapshots, with the plan of each population, as a dataset of their own.

    Raises ``BuildError`` where ``out`` holds something else, or is the folder of a source.
    """
    sources = [source for _, members in populations.values() for source in members]
    roots = {source.dataset.root.resolve() for source in sources}
    if out.resolve() in roots:
        raise BuildError(f"{out} is read from; give another folder for the new dataset")
    snapshots = sources[0].snapshots
    card = derived_card([plan for plan, _ in populations.values()], snapshots)
    data: Any = {"populations": populations, "image_sets": image_sets, "card_template": card, "snapshots": snapshots}
    return write_dataset(out, **data, whole=True, progress=progress)
