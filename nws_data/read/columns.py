"""Metadata of a dataset as numpy columns, and where each row's weights lie; what opening a dataset reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nws_data.errors import FormatError
from nws_data.format.manifest import Manifest
from nws_data.read.store import VALUE_BYTES, Shard, WeightStore
from nws_data.space.trajectory import SNAPSHOTS

if TYPE_CHECKING:
    import pyarrow as pa

_POSITION = ("shard", "key", "row", "offset", "nbytes")


def read_columns(root: Path, manifest: Manifest, population: str, splits: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the metadata of all snapshots of some splits, in the order of split, plan index and snapshot.

    Returns the columns of FORMAT.md, those of :func:`derived_columns`, ``population``, ``split``, and the fields of the
    column ``weights`` as ``weights.shard`` and so on; each ``(n,)``. Raises ``FormatError`` for a file that is missing or
    damaged.
    """
    import pyarrow as pa

    from nws_data.format.metadata import read_table

    entries = manifest.populations[population].splits
    tables = [read_table(root, manifest, entries[split].metadata) for split in splits]
    table = pa.concat_tables(tables).flatten()
    columns = {"training": _numpy(table, "training")}
    columns["population"] = np.full(len(table), population)
    columns["split"] = np.repeat(list(splits), [len(t) for t in tables])
    columns |= {name: _numpy(table, name) for name in table.column_names if name != "training"}
    final = None
    if SNAPSHOTS[-1] not in manifest.snapshots:
        names = ("training", "n_epochs", "final_test_accuracy")
        paths = [manifest.trainings[split] for split in splits]
        final = pa.concat_tables(read_table(root, manifest, path, names) for path in paths)
    return columns | derived_columns(columns, {s.name: s.threshold for s in manifest.image_sets}, final)


def split_positions(
    root: Path, columns: dict[str, np.ndarray], manifest: Manifest
) -> tuple[WeightStore, np.ndarray, np.ndarray]:
    """Take the fields of ``weights`` out of the columns; raises ``FormatError`` for positions that cannot be.

    Returns the store of all shards they name; each row's shard in it, int64 ``(n,)``; and where each row's vector starts in
    its shard, in float32 values, int64 ``(n,)``.
    """
    weights = {name: columns.pop(f"weights.{name}") for name in _POSITION}
    offset, sha256, numbers = weights["offset"], manifest.file_sha256, np.array(manifest.snapshots)
    fits = (
        (offset % VALUE_BYTES == 0)
        & (offset >= 0)
        & (weights["nbytes"] == columns["n_weights"].astype(np.int64) * VALUE_BYTES)
        & (weights["row"] < len(numbers))
        & (numbers[np.minimum(weights["row"], len(numbers) - 1)] == columns["snapshot"])
        & (weights["key"] == np.array([f"t{training[-6:]}" for training in columns["training"].tolist()]))
    )
    if not fits.all():
        raise FormatError(f"{root}: positions of weights in the metadata do not fit; check it with `nws verify {root}`")
    names, shard_index = np.unique(weights["shard"], return_inverse=True)
    unlisted = set(names.tolist()) - set(sha256)
    if unlisted:
        raise FormatError(f"{root}: the metadata name a shard that the manifest does not list: {min(unlisted)!r}")
    tensors: list[dict[str, int]] = [{} for _ in names]  # of each shard: where its tensors start, as the metadata have it
    starts = (offset - weights["row"] * weights["nbytes"]).tolist()
    for shard, key, start in zip(shard_index.tolist(), weights["key"].tolist(), starts, strict=True):
        if tensors[shard].setdefault(key, start) != start:
            raise FormatError(f"{names[shard]}: the metadata place {key} at several bytes; check it with `nws verify`")
    shards = [Shard(name, found, sha256[name]) for name, found in zip(names.tolist(), tensors, strict=True)]
    return WeightStore(root, shards), shard_index, offset // VALUE_BYTES


def derived_columns(
    columns: dict[str, np.ndarray], thresholds: dict[str, float], final: pa.Table | None = None
) -> dict[str, np.ndarray]:
    """Return the columns that follow from the stored ones, of all snapshots of each training; see :class:`NWSDataset`.

    ``thresholds`` are the test accuracies by image set that a converged model must be above (Supplement C); ``final`` has
    training, n_epochs and final_test_accuracy, where the last snapshots are not among the rows. Raises ``FormatError`` for
    an image set without a threshold, or a training that ``final`` lacks.
    """
    ids, of = np.unique(columns["training"], return_inverse=True)
    if final is None:
        last = np.lexsort((columns["snapshot"], of))[np.cumsum(np.bincount(of, minlength=len(ids))) - 1]
        last_epoch, accuracy = columns["epoch"][last][of], columns["test_accuracy"][last][of]
    else:
        place = {training: i for i, training in enumerate(final["training"].to_pylist())}
        if missing := [training for training in ids.tolist() if training not in place]:
            raise FormatError(f"metadata/trainings has no {missing[0]}; check the dataset with `nws verify`")
        rows = np.array([place[training] for training in ids.tolist()], dtype=np.int64)[of]
        last_epoch, accuracy = _numpy(final, "n_epochs")[rows], _numpy(final, "final_test_accuracy")[rows]
    names, which = np.unique(columns["dataset"], return_inverse=True)
    unknown = [name for name in names.tolist() if name not in thresholds]
    if unknown:
        raise FormatError(f"the manifest lists no image set {unknown[0]!r}, but trainings use it; fetch or rebuild it")
    return {
        "last_epoch": last_epoch,
        "final_test_accuracy": accuracy,
        "passed": accuracy > np.array([thresholds[name] for name in names.tolist()], float)[which],
        "generalisation_gap": columns["train_accuracy"] - columns["test_accuracy"],
        "progress": columns["epoch"] / np.maximum(last_epoch, 1),
    }


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as numpy, strings as fixed-width text."""
    values = table.column(name).to_numpy()
    return values.astype(str) if values.dtype == object else values
