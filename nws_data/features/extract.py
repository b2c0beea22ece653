"""Statistics features of a view's items: ``statistics_features``, with names and cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nws_data.errors import FormatError, SelectionError, check_one_of
from nws_data.features.cache import BlockCache, block_key, default_folder
from nws_data.features.statistics import STATISTICS, VERSION, statistics
from nws_data.format.partial import missing_shard
from nws_data.progress import progress_bar
from nws_data.read.dataset import NWSDataset
from nws_data.read.store import StreamedStore
from nws_data.read.views import FixedWindows, GlobalVectors, WeightView

Pieces = Literal["vector", "layers"]
PIECES = ("vector", "layers")

_BATCH_VALUES = 2**22
"""Weights gathered at a time: 16 MB."""


def statistics_features(
    view: WeightView, pieces: Pieces = "vector", *, cache: bool | Path = True, progress: bool = False
) -> np.ndarray:
    """Return the statistics of every item of a view; the same bits whatever the order, the batches and the cache.

    Args:
        view: what an item is: a whole vector, or a window.
        pieces: ``"vector"``: the item as one piece, 16 features. ``"layers"``: every tensor of every layer but the output
            layer as a piece of its own, 480 features in the fixed architecture; for whole vectors of one architecture.
        cache: keep the features in ``nws/features`` of the user's cache, or in the folder given. Kept are those of whole
            vectors (``GlobalVectors``) and of fixed windows (``FixedWindows``). Padded or cut vectors, random windows,
            views with a transform, other views, subclasses of those two among them, and streamed data are computed each
            time.
        progress: show a progress bar in a terminal or a notebook.

    Returns:
        float64 ``(len(view), 16)`` or ``(len(view), 480)``, named by :func:`feature_names`.

    Raises:
        SelectionError: values that are not finite, or ``"layers"`` of something else than whole vectors of one
            architecture without a transform.
        WindowError: items of a single value.
        FormatError: a shard is missing or damaged.
    """
    return _features(view, _kind(view, pieces), cache, progress)


def item_features(
    view: WeightView,
    name: str,
    compute: Callable[[np.ndarray], np.ndarray],
    n_features: int,
    version: int,
    *,
    cache: bool | Path = True,
    progress: bool = False,
) -> np.ndarray:
    """Return features of one's own of every item of a view, float64 ``(len(view), n_features)``, cached as statistics are.

    ``compute`` goes from items float32 ``(n, length)`` to float64 ``(n, n_features)``, a row a function of its item alone.
    Cached features of another name or version are not used. All else is as of :func:`statistics_features`.
    """
    kind = _kind(view, "vector")
    own = replace(kind, name=f"{name}-{kind.name}", compute=compute, per_piece=n_features, version=version)
    return _features(view, own, cache, progress)


def _features(view: WeightView, kind: _Kind, cache: bool | Path, progress: bool) -> np.ndarray:
    _check_finite(view)
    found = np.empty((len(view.data), view.per_vector, kind.n_features))
    with progress_bar(shown=progress, total=len(found), desc="features", unit=" vectors") as bar:
        if cache is False or not kind.is_cached or isinstance(view.data.store, StreamedStore):
            _compute(view, kind, np.arange(len(found)), found, bar.update)
        else:
            folder = default_folder() if cache is True else Path(cache)
            _compute_cached(view, kind, BlockCache(folder), found, bar.update)
    return found.reshape(len(view), kind.n_features)


def feature_names(view: WeightView, pieces: Pieces = "vector") -> tuple[str, ...]:
    """Return the features' names, such as ``"gradient_p25"``, or ``"conv1.kernel.p99"`` of layers.

    Raises ``SelectionError`` as :func:`statistics_features`.
    """
    kind = _kind(view, pieces)
    return tuple(f"{prefix}{name}" for prefix in kind.prefixes for name in STATISTICS)


@dataclass(frozen=True)
class _Kind:
    """What is computed of each item, and what identifies it in the cache."""

    name: str
    is_cached: bool
    parameters: dict[str, Any] = field(default_factory=dict)
    slices: tuple[slice, ...] = (slice(None),)  # the pieces of an item
    prefixes: tuple[str, ...] = ("",)  # their names
    compute: Callable[[np.ndarray], np.ndarray] = statistics  # from pieces (n, length) to (n, per_piece)
    per_piece: int = len(STATISTICS)
    version: int = VERSION

    @property
    def n_features(self) -> int:
        return len(self.slices) * self.per_piece

    def features(self, values: np.ndarray) -> np.ndarray:
        """Return float64 ``(n, n_features)`` of values ``(n, length)``, pieces of one size side by side in one batch."""
        found = np.empty((len(self.slices), len(values), self.per_piece))
        sizes = [len(range(*piece.indices(values.shape[1]))) for piece in self.slices]
        for size in dict.fromkeys(sizes):
            members = [i for i, s in enumerate(sizes) if s == size]
            parts = [values[:, self.slices[i]] for i in members]
            batch = parts[0] if len(parts) == 1 else np.concatenate(parts)
            found[members] = self.compute(batch).reshape(len(members), len(values), -1)
        return found.swapaxes(0, 1).reshape(len(values), -1)


def _kind(view: WeightView, pieces: str) -> _Kind:
    if not isinstance(view, WeightView):
        raise SelectionError(f"features are of a view, such as GlobalVectors(data), got {type(view).__name__}")
    check_one_of("pieces", pieces, PIECES)
    # Whether the selection and a block's key tell all about the items; a subclass may change the weights.
    is_cacheable = type(view) in (GlobalVectors, FixedWindows) and view.transform is None
    parameters: dict[str, Any]
    if pieces == "vector" and isinstance(view, FixedWindows):
        parameters = {"length": view.length, "part": view.part, "windows": view.per_vector}
        parameters |= {"grid": view.grid} if view.grid > 1 else {}
        return _Kind("windows", is_cacheable, parameters)
    # Whether the items are whole weight vectors as they are: not filled up, cut or transformed.
    is_plain = isinstance(view, GlobalVectors) and view.transform is None
    is_whole = is_plain and bool((view.data["n_weights"] == view.length).all())  # type: ignore[attr-defined]
    if pieces == "vector":
        return _Kind("vector", is_cacheable and is_whole)
    architectures, _ = view.data.architectures()
    if not is_whole or len(architectures) > 1:
        raise SelectionError(
            f"layers are pieces of whole vectors of one architecture: give GlobalVectors(data) of `fixed` or of one such as "
            f"data.select(filter_size={architectures[0].filter_size}, ...), or pieces='vector'; got {view}"
        )
    hidden = [layer for layer in architectures[0].layers if not layer.is_output]
    tensors = {f"{layer.name}.{tensor.kind}": tensor for layer in hidden for tensor in layer.tensors}
    parameters = {name: (tensor.start, tensor.stop) for name, tensor in tensors.items()}
    slices, prefixes = (tensor.slice for tensor in tensors.values()), (f"{name}." for name in tensors)
    return _Kind("layers", is_cacheable, parameters, tuple(slices), tuple(prefixes))


def _check_finite(view: WeightView) -> None:
    """Raise ``SelectionError`` where an item holds a value that is not finite."""
    suspects = np.flatnonzero(~view.data["finite"] | (view.transform is not None))
    bad = [row for rows, values in _batches(view, suspects) for row in rows[~np.isfinite(values).all(axis=(1, 2))]]
    if bad:
        trainings = np.unique(view.data["training"][bad])
        raise SelectionError(
            f"{len(trainings)} trainings of this selection hold values that are not finite, the first is {trainings[0]}: "
            f"leave them out by data.select(finite=True){', or change the transform' if view.transform else ''}"
        )


def _batches(view: WeightView, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some of the rows (int64 ``(n,)``) with their items' weights, float32 ``(n, per_vector, length)``."""
    if not len(rows):
        return
    each = np.arange(view.per_vector)
    step = max(1, _BATCH_VALUES // (view.per_vector * view[int(rows[0])][0].numel()))
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        items = (some[:, None] * view.per_vector + each).reshape(-1)
        yield some, view.__getitems__(items.tolist()).weights.numpy().reshape(len(some), view.per_vector, -1)


def _compute(view: WeightView, kind: _Kind, rows: np.ndarray, out: np.ndarray, done: Callable[[int], Any]) -> None:
    """Write the features of rows into ``out`` ``(n, per_vector, n_features)``."""
    first = 0
    for some, values in _batches(view, rows):
        out[first : first + len(some)] = kind.features(values.reshape(-1, values.shape[2])).reshape(-1, *out.shape[1:])
        done(len(some))
        first += len(some)


def _compute_cached(view: WeightView, kind: _Kind, cache: BlockCache, out: np.ndarray, done: Callable[[int], Any]) -> None:
    """Write all features into ``out``; what a block lacks is computed and added to it."""
    trainings = view.data["training"].tolist()
    for key, rows in _blocks(view.data, kind):
        block = cache.read(kind.name, key)
        if any(features.shape != out.shape[1:] for features in block.values()):
            block = {}
        missing = np.array([row for row in rows if trainings[row] not in block], np.int64)
        done(len(rows) - len(missing))
        if len(missing):
            found = np.empty((len(missing), *out.shape[1:]))
            _compute(view, kind, missing, found, done)
            block |= {trainings[row]: features for row, features in zip(missing, found, strict=True)}
            cache.write(kind.name, key, block)
        out[rows] = [block[trainings[row]] for row in rows]


def _blocks(data: NWSDataset, kind: _Kind) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each block's key and the rows of the selection that belong to it."""
    sha256 = data.manifest.file_sha256
    order = np.lexsort((data["snapshot"], data.shard_index))
    places = np.stack([data.shard_index, data["snapshot"]], axis=1)[order]
    cuts = np.flatnonzero((np.diff(places, axis=0) != 0).any(axis=1)) + 1
    for rows in np.split(order, cuts):
        path, snapshot = data.store.shards[data.shard_index[rows[0]]].path, int(data["snapshot"][rows[0]])
        try:
            key = block_key(data.root / path, sha256[path], snapshot, kind.name, kind.parameters, kind.version)
        except OSError as error:
            raise FormatError(missing_shard(data.root, path)) from error
        yield key, rows
