"""An opened dataset: metadata as numpy columns, selections of rows, and the weights of each."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws_data.errors import DownloadError, FormatError, SelectionError, ShardsAbsentError, check_one_of, one_of
from nws_data.format.manifest import Manifest
from nws_data.format.partial import Pulled, how_to_get
from nws_data.format.tiers import FULL, choose_tier, tier_bytes, tier_name
from nws_data.hub.repository import Repository, parse_repository
from nws_data.read.columns import read_columns, split_positions
from nws_data.read.selection import Condition, last_of_each, matches
from nws_data.read.store import StreamedStore, WeightStore
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, COLUMNS, HyperParameters, Population
from nws_data.space.identity import Split

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

_ARCHITECTURE = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc", "batch_norm")


class NWSDataset:
    """Snapshots with their metadata, one row each; made by :func:`open` and narrowed by :meth:`select`.

    ``data["optimizer"]`` is a column, a numpy array ``(len(data),)``. Beside the columns of FORMAT.md there are
    ``population``, ``split``, ``last_epoch`` and ``final_test_accuracy`` (of the training's converged model),
    ``passed`` (it is above the image set's threshold), ``generalisation_gap`` (train less test accuracy) and
    ``progress`` (epoch / last epoch).

    Attributes:
        root: the dataset's folder.
        manifest: what the whole dataset holds.
        store: where the weights come from.
        shard_index: int64 ``(n,)``, each row's shard in ``store.shards``.
        value_offset: int64 ``(n,)``, where each row's vector starts in its shard, in float32 values.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        columns: Mapping[str, np.ndarray],
        store: WeightStore,
        shard_index: np.ndarray,
        value_offset: np.ndarray,
    ) -> None:
        self.root, self.manifest, self.store = root, manifest, store
        self.shard_index, self.value_offset = shard_index, value_offset
        self._columns = dict(columns)
        for column in self._columns.values():  # shared by selections and views: read-only
            column.setflags(write=False)

    def __len__(self) -> int:
        return len(self.value_offset)

    def __repr__(self) -> str:
        places = [" + ".join(dict.fromkeys(self[name].tolist())) for name in ("population", "split")]
        where = ", ".join([repr(str(self.root)), *filter(None, places)])
        return f"NWSDataset({where}: {len(self):,} snapshots of {len(np.unique(self['training'])):,} trainings)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(self._columns)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column, ``(len(self),)``; raises ``SelectionError`` for an unknown name."""
        if not isinstance(name, str):  # iteration comes here too
            raise SelectionError(
                "data[...] and iteration give no rows: columns by name, such as data['optimizer'], rows by take(), vector() "
                f"or model(), items to train on by a view such as RandomWindows(data); got {type(name).__name__}"
            )
        check_one_of("column", name, self._columns)
        return self._columns[name]

    def select(self, *values: Condition, last: int | None = None, **conditions: Condition) -> NWSDataset:
        """Return the rows that meet all conditions.

        Args:
            values: an error: conditions are given by column.
            last: keep the last so many snapshots of each training, of those that meet the other conditions.
            conditions: by column: a value, a collection of values, or a callable from the column to a bool mask, as
                in ``select(optimizer="adam", snapshot=range(10, 20), learning_rate=lambda x: x < 1e-3, passed=True)``.

        Raises:
            SelectionError: an unknown column, or a value that no row has.
            ArgumentError: ``last`` is not a whole number of at least 1.
        """
        if values:
            raise SelectionError(f"select takes conditions by column, such as select(optimizer='adam'), got {values[0]!r}")
        mask = np.ones(len(self), bool)
        for name, condition in conditions.items():
            mask &= matches(name, self[name], condition)
        selected = self.take(np.flatnonzero(mask))
        if last is None:
            return selected
        return selected.take(np.flatnonzero(last_of_each(selected["training"], selected["snapshot"], last)))

    def take(self, rows: np.ndarray) -> NWSDataset:
        """Return the rows at these positions (int ``(n,)``), in this order."""
        columns = {name: column[rows] for name, column in self._columns.items()}
        return NWSDataset(self.root, self.manifest, columns, self.store, self.shard_index[rows], self.value_offset[rows])

    def fetch(self) -> NWSDataset:
        """Fetch the shards of these rows that are not here, and no others; returns the dataset itself, to be read from here.

        Of use after ``open(..., stream=True)`` and a selection. Raises ``DownloadError`` as :func:`open`.
        """
        from nws_data.hub.pull import fetch_shards
        from nws_data.progress import bytes_bar

        paths = {self.store.shards[i].path for i in np.unique(self.shard_index).tolist()}
        if missing := {path for path in paths if not (self.root / path).is_file()}:
            with bytes_bar() as show:
                fetch_shards(self.root, missing, show)
        return self

    @property
    def image_sets(self) -> tuple[str, ...]:
        """Names of the dataset's image sets: the label order of the column ``dataset``."""
        return tuple(image_set.name for image_set in self.manifest.image_sets)

    def classes(self, name: str) -> tuple[Any, ...]:
        """Return a classed column's values in label order; raises ``SelectionError`` for other columns."""
        if name in CLASSES:
            return self.image_sets if name == "dataset" else CLASSES[name]
        if self[name].dtype == np.bool_:
            return (False, True)
        raise SelectionError(f"not a classed column: {one_of(name, CLASSES)}")

    def labels(self, name: str) -> np.ndarray:
        """Return a column as a target: int64 positions in :meth:`classes`, or float32 for numbers.

        Raises ``SelectionError`` for a column that is neither, such as ``training``.
        """
        column = self[name]
        if name in CLASSES:
            label = {value: i for i, value in enumerate(self.classes(name))}
            return np.array([label[value] for value in column.tolist()], np.int64)
        if column.dtype == np.bool_:
            return column.astype(np.int64)
        if not np.issubdtype(column.dtype, np.number):
            numbers = [n for n, c in self._columns.items() if c.dtype.kind in "bif"]
            raise SelectionError(f"target: {one_of(name, dict.fromkeys([*CLASSES, *numbers]))}")
        return column.astype(np.float32)

    def hyperparameters(self, row: int) -> HyperParameters:
        """Return the hyper-parameters of a row."""
        row = self._row(row)
        return HyperParameters.from_dict({name: self[name][row].item() for name in COLUMNS})

    def architectures(self) -> tuple[list[Architecture], np.ndarray]:
        """Return the architectures that occur, and for each row which of them it has, int64 ``(n,)``."""
        fields = np.stack([self[name].astype(np.int64) for name in _ARCHITECTURE], axis=1)
        found, which = np.unique(fields, axis=0, return_inverse=True)
        kinds = [dict(zip(_ARCHITECTURE, values, strict=True)) for values in found.tolist()]
        return [Architecture(**kind | {"batch_norm": bool(kind["batch_norm"])}) for kind in kinds], which.reshape(-1)

    def vector(self, row: int) -> Tensor:
        """Return a row's weight vector, float32 ``(n_weights,)``."""
        row = self._row(row)
        shard, start = self.shard_index[row : row + 1], self.value_offset[row : row + 1]
        return self.store.gather(shard, start, int(self["n_weights"][row]))[0]

    def state_dict(self, row: int) -> dict[str, Tensor]:
        """Return a row's weights as the ``state_dict`` of :meth:`model`."""
        from nws_data.space.network import state_dict_from_vector

        return state_dict_from_vector(self.vector(row), Architecture.of(self.hyperparameters(row)))

    def model(self, row: int) -> nn.Module:
        """Return a row's network with its weights, ready to classify images."""
        from nws_data.space.network import load_network

        return load_network(self.vector(row), self.hyperparameters(row))

    def trainings(self) -> pd.DataFrame:
        """Return the table of the trainings that have a row here, in plan order: seeds, layers, learning curves and more.

        Raises ``FormatError`` where the file is damaged, or the dataset was extended since it was opened.
        """
        import pyarrow as pa

        from nws_data.format.metadata import TRAINING_SCHEMA, read_table

        paths = [path for split, path in self.manifest.trainings.items() if split in self["split"]]
        if not all((self.root / path).is_file() for path in paths) and Manifest.load(self.root) != self.manifest:
            raise FormatError(f"{self.root}: the dataset was changed since it was opened: open it again")
        tables = [read_table(self.root, self.manifest, path) for path in paths]
        frame = pa.concat_tables(tables).to_pandas() if tables else TRAINING_SCHEMA.empty_table().to_pandas()
        frame = frame[frame["training"].isin(np.unique(self["training"]))]
        return frame.sort_values("plan_index", ignore_index=True)

    def to_pandas(self) -> pd.DataFrame:
        """Return all columns as a data frame, one row a snapshot."""
        import pandas as pd

        return pd.DataFrame(self._columns)

    def _row(self, row: int) -> int:
        row = operator.index(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} is out of range: the selection has {len(self)} rows")
        return row % len(self)


def open(
    path: str | Path,
    population: Population | None = None,
    split: Split | None = None,
    *,
    tier: str | None = None,
    stream: bool = False,
) -> NWSDataset:
    """Open one population of a dataset.

    Args:
        path: the folder that holds ``manifest.json``; or, as text, a repository on the Hugging Face hub: ``owner/name``,
            ``owner/name@revision`` or ``hf://datasets/owner/name``. Of that the tier's shards are fetched into the hub's
            cache, as far as they are not there.
        population: ``"fixed"`` or ``"random"``; by default the only one there is, or ``"fixed"``.
        split: ``"train"``, ``"validation"``, ``"test"``, or ``"none"``, which imported trainings in none of the lists have;
            by default all. Shards of other splits need not be there.
        tier: ``"1GB"``, ``"10GB"``, ``"full"`` or any size such as ``"500MB"``: a fair sample of that size, see FORMAT.md.
            By default all that is here; a warning says what is not. A repository needs one, or ``stream``.
        stream: fetch no shards. What is read of those that are not here, a window or a vector, comes from the hub by HTTP
            range requests, each time it is read.

    Returns:
        All snapshots, in the order of split, plan index and snapshot. No weights are read yet.

    Raises:
        FormatError: not a dataset, damaged, or of a version this package does not read.
        ShardsAbsentError: shards of the tier, or all shards, are not here.
        DownloadError: a repository that cannot be had.
        SelectionError: a population or split that the dataset does not hold, a tier that is not a size, or a repository
            without a tier.
    """
    data = open_rows(local_folder(path, population, split, tier, stream), population, split, tier or FULL)
    missing = {shard.path for shard in data.store.shards if not (data.root / shard.path).is_file()}
    if missing and stream and (pulled := Pulled.load(data.root)):
        data.store = StreamedStore(data.store, Repository(pulled.repository, pulled.commit))
        return data
    return _without_absent(data, missing, tier) if missing else data


def local_folder(
    path: str | Path,
    population: str | None = None,
    split: str | None = None,
    tier: str | None = None,
    stream: bool = False,
) -> Path:
    """Return a dataset's folder; of a repository on the hub that is one in the cache, into which the tier is fetched.

    With ``stream`` its metadata alone are fetched.
    """
    folder = Path(os.path.expanduser(path)).resolve()  # another working folder may hold another dataset of that name
    repository = None if isinstance(path, Path) or folder.exists() else parse_repository(path)
    if repository is None:
        return folder
    from nws_data.hub.pull import cached
    from nws_data.progress import bytes_bar

    try:
        with bytes_bar() as show:
            return cached(repository, tier, population, split, show, stream=stream)
    except DownloadError as error:
        raise DownloadError(f"{error}; nor is there a folder {path}") from error


def open_rows(root: Path, population: str | None = None, split: str | None = None, tier: str = FULL) -> NWSDataset:
    """Open a dataset as :func:`open` does, but with all rows of the tier, be their shards here or not."""
    manifest = Manifest.load(root)
    present = manifest.populations
    if not present:
        raise SelectionError(f"{root}: the dataset holds no trainings yet; build some with `nws build`")
    population = population or manifest.default_population
    check_one_of(f"{root}: population", population, present)
    entry = present[population]
    if split is not None and split not in entry.splits:
        raise SelectionError(f"{root}: split of {population}: {one_of(split, entry.splits)}")
    chosen = list(entry.splits) if split is None else [split]
    columns = read_columns(root, manifest, population, chosen)
    size = tier_bytes(tier)
    if size is not None:
        shards = choose_tier({name: stored.shards for name, stored in entry.splits.items()}, size)
        paths = [shard.path for name in chosen for shard in shards[name]]
        kept = np.flatnonzero(np.isin(columns["weights.shard"], paths))
        columns = {name: column[kept] for name, column in columns.items()}
    store, shard_index, value_offset = split_positions(root, columns, manifest)
    return NWSDataset(root, manifest, columns, store, shard_index, value_offset)


def _without_absent(data: NWSDataset, missing: set[str], tier: str | None) -> NWSDataset:
    """Leave out the rows whose shards are absent, with a warning.

    Raises ``ShardsAbsentError`` where a tier was asked for, or where no row is left.
    """
    population, n_shards = str(data["population"][0]), len(data.store.shards)
    text = f"{data.root}: {len(missing)} of {n_shards} shards of {population}"
    if tier is not None or len(missing) == n_shards:
        of = "" if tier is None else f", tier {tier_name(tier)},"
        raise ShardsAbsentError(f"{text}{of} are not here; {how_to_get(data.root, population, tier_name(tier or FULL))}")
    present = np.array([shard.path not in missing for shard in data.store.shards])[data.shard_index]
    n_left = len(np.unique(data["training"][~present]))
    warnings.warn(
        f"{text} are not here, so {n_left:,} trainings are left out; {how_to_get(data.root, population)}", stacklevel=3
    )
    return data.take(np.flatnonzero(present))
