"""What a model reads: torch Datasets of ``(weights, label)`` over a selection of weight vectors.

Every view gathers a batch at once (``__getitems__``), in a plain ``DataLoader(view, batch_size=64, shuffle=True)``
too. Prefer ``num_workers=0``: moving batches between processes costs more than reading them.
"""

from __future__ import annotations

import copy
import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nws_data.arguments import whole_number
from nws_data.errors import ArgumentError, SelectionError
from nws_data.read.collate import GatheredBatch
from nws_data.read.dataset import NWSDataset
from nws_data.read.windows import N_OFFICIAL, check_length, official_starts, random_starts, spills, start_range
from nws_data.space.architecture import Architecture, Part, TensorKind
from nws_data.space.permutation import augment_permutations

Transform = Callable[[Tensor], Tensor]
"""From the weights of a batch, float32 ``(n, ...)``, to a tensor of as many items, ``(n, ...)``."""


class WeightView(Dataset[tuple[Tensor, Tensor]], ABC):
    """Base of all views: items ``(weights, label)``, one or several for each row of the selection.

    Args:
        data: the selection, one row a snapshot.
        target: column whose label an item has, see :meth:`NWSDataset.labels`; by default the label is the row's
            position in ``data`` (int64).
        transform: applied to the weights that are read, always as a batch: float32 ``(n, ...)`` in, ``(n, ...)`` of any
            dtype and item shape out. A DataLoader calls it once a batch, ``view[i]`` with ``n = 1``. The tensor belongs to
            it, so it may change it in place. Such as ``transform=lambda weights: weights.asinh_()``; worker processes
            that are not forked need one that pickles.
        per_vector: items of each row, side by side.

    Raises:
        SelectionError: an empty selection or an unknown target.
        ArgumentError: a number of items out of range, or, when items are read, a transform that does not return a tensor
            of ``n`` items.
    """

    _shown: tuple[str, ...] = ()
    """Attributes that tell views of a class apart, for ``repr``."""

    def __init__(
        self, data: NWSDataset, *, target: str | None = None, transform: Transform | None = None, per_vector: int = 1
    ) -> None:
        if not len(data):
            raise SelectionError("the selection is empty: widen its conditions")
        self.data, self.target, self.transform = data, target, transform
        self.per_vector = whole_number("per_vector", per_vector, 1)
        self.row_labels = torch.from_numpy(np.arange(len(data)) if target is None else data.labels(target))

    @property
    def rows(self) -> np.ndarray:
        """Each item's row in :attr:`data`, int64 ``(len(self),)``."""
        return np.repeat(np.arange(len(self.data)), self.per_vector)

    @property
    def labels(self) -> Tensor:
        """The label of every item, ``(len(self),)``: int64, or float32 where the target is a number."""
        return self.row_labels.repeat_interleave(self.per_vector)

    def with_row_labels(self, labels: Tensor) -> Self:
        """Return the same view with other labels, one a row: tensor ``(len(data),)``; such as permuted ones.

        Raises ``SelectionError`` when there are more or fewer.
        """
        if labels.shape != self.row_labels.shape:
            raise SelectionError(f"labels must have shape {tuple(self.row_labels.shape)}, got {tuple(labels.shape)}")
        view = copy.copy(self)
        view.row_labels = labels
        return view

    @property
    def classes(self) -> tuple[Any, ...]:
        """Values of the target in label order; raises ``SelectionError`` without a target or for a number."""
        if self.target is None:
            raise SelectionError("this view has no target: its labels are row numbers")
        return self.data.classes(self.target)

    def __len__(self) -> int:
        return len(self.data) * self.per_vector

    def __repr__(self) -> str:
        names = (*self._shown, "target", *(["transform"] if self.transform else []))
        found = {name: getattr(self, name) for name in names}
        return f"{type(self).__name__}({len(self):,} items, {', '.join(f'{k}={v!r}' for k, v in found.items())})"

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(weights, label)`` of an item, or of a slice or whole numbers ``(n,)`` both as batches.

        Raises ``IndexError`` out of range, ``SelectionError`` for what is not an index.
        """
        if isinstance(index, slice):
            return self._gather(np.arange(*index.indices(len(self))))
        items = np.asarray(index)
        if items.ndim > 1 or (items.size and items.dtype.kind not in "iu"):
            raise SelectionError(f"items are chosen by whole numbers, a list of them or a slice, got {index!r}")
        wrong = items[(items < -len(self)) | (items >= len(self))]
        if wrong.size:
            raise IndexError(f"index {wrong.flat[0]} is out of range: this view has {len(self)} items")
        weights, labels = self._gather(np.atleast_1d(items).astype(np.int64) % len(self))
        return (weights, labels) if items.ndim else (weights[0], labels[0])

    def __getitems__(self, indices: Sequence[int]) -> GatheredBatch:
        """Return the items as one batch: one gather, writable tensors that belong to the caller."""
        return GatheredBatch(*self._gather(np.asarray(indices, np.int64)))

    def _gather(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        rows = items // self.per_vector if self.per_vector > 1 else items
        weights = self._weights(items, rows)
        if self.transform:
            weights = self.transform(weights)
            if not isinstance(weights, Tensor) or weights.shape[:1] != (len(items),):
                got = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
                raise ArgumentError(f"transform must return a tensor ({len(items)}, ...), one row an item, got {got}")
        return weights, self.row_labels[torch.from_numpy(rows)]

    @abstractmethod
    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        """Return the weights of items, which belong to ``rows`` of the selection, in one new tensor, not yet transformed."""


class GlobalVectors(WeightView):
    """Whole weight vectors: items float32 ``(length,)`` and a label. Arguments as in :class:`WeightView`, and:

    Args:
        length: needed where vectors differ in length: shorter ones are filled up with zeros, longer ones cut at the
            end. ``"max"`` is the longest of the selection. By default the common length.

    Raises:
        SelectionError: vectors of different lengths and no ``length``.
        ArgumentError: a length that is neither a whole number of at least 1 nor ``"max"``.
    """

    _shown: tuple[str, ...] = ("length",)

    def __init__(
        self,
        data: NWSDataset,
        *,
        target: str | None = None,
        length: int | Literal["max"] | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(data, target=target, transform=transform)
        n = data["n_weights"]
        shortest, longest = int(n.min()), int(n.max())
        if length is None and shortest != longest:
            raise SelectionError(
                f"the vectors of this selection have {shortest} to {longest} values: give length= (zeros fill up, the rest "
                f'is cut; "max" keeps all), or select one architecture, or use RandomWindows'
            )
        if isinstance(length, str) and length != "max":
            raise ArgumentError(f'length must be a whole number or "max", got {length!r}')
        self.length = longest if length is None or isinstance(length, str) else whole_number("length", length, 1)
        self._lengths = None if shortest >= self.length else np.minimum(n, self.length).astype(np.int64)

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        shards, starts = self.data.shard_index[rows], self.data.value_offset[rows]
        if self._lengths is None:
            return self.data.store.gather(shards, starts, self.length)
        return self.data.store.gather_padded(shards, starts, self._lengths[rows], self.length)


class _Windows(WeightView):
    """What random and fixed windows share: length, part and the range of starts."""

    _shown = ("length", "part")
    _starts: np.ndarray

    def __init__(
        self,
        data: NWSDataset,
        length: int,
        part: Part,
        target: str | None,
        windows_per_vector: int,
        transform: Transform | None,
    ) -> None:
        per_vector = whole_number("windows_per_vector", windows_per_vector, 1)
        super().__init__(data, target=target, transform=transform, per_vector=per_vector)
        n, n_conv = self._sizes()
        self.length, self.part = check_length(length, n), part
        self.first_start, self.last_start = start_range(part, self.length, n, n_conv)
        self._spills = spills(part, self.length, n, n_conv)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths, int ``(len(data),)``, of the vectors in which the windows stand, and of their conv parts."""
        return self.data["n_weights"], self.data["n_weights_conv"]

    @property
    def spill_share(self) -> float:
        """Share of vectors whose part is shorter than the window, which then runs on into the neighbour part."""
        return float(self._spills.mean())

    def starts(self) -> np.ndarray:
        """Return where every item's window starts in its vector: int64 ``(len(self),)``."""
        return self._starts

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        starts = self.data.value_offset[rows] + self.starts()[items]
        return self.data.store.gather(self.data.shard_index[rows], starts, self.length)


class FixedWindows(_Windows):
    """The official evaluation windows: starts ``round(linspace(first, last, windows_per_vector))`` of every vector.

    Items float32 ``(length,)`` and a label; a vector's windows stand side by side. Arguments and errors as in
    :class:`RandomWindows`, and:

    Args:
        grid: starts are moved to the nearest ``first + k * grid``. Many windows of a vector that overlap on a grid of 256
            cost the DMC a fraction, since it computes most of its layers once for all of them. Starts may then be equal.
    """

    def __init__(
        self,
        data: NWSDataset,
        length: int = 5000,
        part: Part = "all",
        *,
        target: str | None = None,
        windows_per_vector: int = N_OFFICIAL,
        grid: int = 1,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(data, length, part, target, windows_per_vector, transform)
        self.grid = whole_number("grid", grid, 1)
        self._starts = official_starts(self.first_start, self.last_start, self.per_vector, self.grid)


class Epochs:
    """What views share that draw anew in each epoch."""

    def _set_seed(self, seed: int) -> None:
        self.seed = whole_number("seed", seed, 0, 2**63)
        self._epoch = SharedNumber()

    @property
    def epoch(self) -> int:
        """The epoch whose windows or orders are read."""
        return int(self._epoch.value)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, in every worker process as well; call it before the loader's iterator is made."""
        self._epoch.value.fill_(whole_number("epoch", epoch, 0, 2**32))


class RandomWindows(Epochs, _Windows):
    """One or more new random windows of every vector in each epoch: items float32 ``(length,)`` and a label.

    A start is a function of (seed, epoch, item): order, batch size and worker processes do not matter. Call
    :meth:`set_epoch` before each pass (in Lightning, in ``on_train_epoch_start``), else every epoch sees the windows of
    epoch 0. Arguments as in :class:`WeightView`, and:

    Args:
        length: values of a window.
        part: ``"all"``, ``"conv"`` or ``"fc"``; see :func:`nws_data.read.windows.start_range`.
        seed: of the starts, in [0, 2^63).
        windows_per_vector: items of each row, side by side.

    Raises:
        WindowError: a length that the shortest vector does not hold.
        ArgumentError: a seed or number of windows out of range.
        SelectionError: an unknown part or target, or an empty selection.
    """

    def __init__(
        self,
        data: NWSDataset,
        length: int = 5000,
        part: Part = "all",
        *,
        target: str | None = None,
        seed: int = 0,
        windows_per_vector: int = 1,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(data, length, part, target, windows_per_vector, transform)
        self._set_seed(seed)
        self._drawn: tuple[int, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_drawn": None}

    def starts(self, epoch: int | None = None) -> np.ndarray:
        """Return where every item's window starts in its vector: int64 ``(len(self),)``, by default of this epoch."""
        epoch = self.epoch if epoch is None else whole_number("epoch", epoch, 0, 2**32)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, random_starts(self.first_start, self.last_start, self.seed, epoch, self.per_vector)
        return self._drawn[1]


class SharedNumber:
    """An int64 ``value`` that worker processes which live on see change, without a descriptor for each.

    Forked ones share anonymous memory. For others torch moves it to a shared file when it pickles the view for them.
    """

    def __init__(self, value: int = 0) -> None:
        self.value = torch.frombuffer(mmap.mmap(-1, 8), dtype=torch.int64).fill_(value)

    def __setstate__(self, state: dict[str, Tensor]) -> None:
        value = state["value"]
        self.value = value if value.is_shared() else SharedNumber(int(value)).value


class PermutedVectors(Epochs, GlobalVectors):
    """Whole weight vectors of one architecture, each as another network that computes the same function.

    The order of hidden channels and units is a function of (seed, epoch, item): batch size and worker processes do not
    matter. Call :meth:`set_epoch` before each pass, or use :class:`EpochSampler`; else every epoch sees the orders of
    epoch 0.

    Args:
        data: the selection, of one architecture.
        target: see :class:`WeightView`.
        seed: of the orders, in [0, 2^63).
        transform: see :class:`WeightView`; applied after the permutation.

    Raises:
        SelectionError: several architectures, an unknown target, or an empty selection.
        ArgumentError: a seed out of range.

    Source: Hecht-Nielsen 1990, "On the algebraic structure of feedforward network weight spaces".
    """

    _shown: tuple[str, ...] = ("length", "seed")

    def __init__(
        self, data: NWSDataset, *, target: str | None = None, seed: int = 0, transform: Transform | None = None
    ) -> None:
        super().__init__(data, target=target, transform=transform)
        architectures, _ = data.architectures()
        if len(architectures) > 1:
            raise SelectionError(
                f"permuted vectors are of one architecture, this selection has {len(architectures)}; open fixed"
            )
        (self._architecture,) = architectures
        self._set_seed(seed)

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        vectors: Any = super()._weights(items, rows)
        return augment_permutations(vectors, self._architecture, self.seed, self.epoch, torch.from_numpy(items))


class StrippedWindows(FixedWindows):
    """Fixed windows over what is left of each vector without its biases and batch norm's values.

    The values are taken out, not set to 0: what stood before and after them are neighbours. Windows stand as those of
    :class:`FixedWindows` on the shorter vector; :meth:`starts` are places in it.

    Args:
        data: the selection.
        length: values of a window.
        part: ``"all"``, ``"conv"`` or ``"fc"`` of what is left.
        target: see :class:`WeightView`.
        windows_per_vector: items of each row, side by side.

    Raises ``WindowError`` for a length that the shortest stripped vector does not hold.
    """

    def __init__(
        self,
        data: NWSDataset,
        length: int = 5000,
        part: Part = "all",
        *,
        target: str | None = None,
        windows_per_vector: int = N_OFFICIAL,
    ) -> None:
        self._architectures, self._which = data.architectures()
        self._kept = [_kept(architecture) for architecture in self._architectures]
        super().__init__(data, length, part, target=target, windows_per_vector=windows_per_vector)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        n_conv = [(kept < a.n_weights_conv).sum() for a, kept in zip(self._architectures, self._kept, strict=True)]
        return np.array([len(kept) for kept in self._kept])[self._which], np.array(n_conv)[self._which]

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        found = torch.empty(len(items), self.length, device="cpu")
        for row in np.unique(rows).tolist():
            kept = self.data.vector(row)[self._kept[self._which[row]]]
            for i in np.flatnonzero(rows == row).tolist():
                start = int(self._starts[items[i]])
                found[i] = kept[start : start + self.length]
        return found


def _kept(architecture: Architecture) -> np.ndarray:
    """Return the positions of the kernels, int64, ascending."""
    slices = [layer["kernel"].slice for layer in architecture.layers]
    return np.concatenate([np.arange(s.start, s.stop) for s in slices])


class LayerTensors(WeightView):
    """One tensor of one layer: items float32 shaped as the tensor (kernels as in PyTorch) and a label.

    Arguments as in :class:`WeightView`, and:

    Args:
        layer: such as ``"conv1"`` or ``"fc2"``.
        kind: ``"kernel"``, ``"bias"``, ``"beta"``, ``"gamma"``, ``"mean"`` or ``"variance"``.

    Raises:
        SelectionError: an architecture without that layer or kind, or tensors of different shapes.
    """

    _shown = ("layer", "kind", "shape")

    def __init__(
        self,
        data: NWSDataset,
        layer: str = "conv1",
        kind: TensorKind = "kernel",
        *,
        target: str | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(data, target=target, transform=transform)
        architectures, which = data.architectures()
        tensors = [architecture.layer(layer)[kind] for architecture in architectures]
        shapes = sorted({tensor.shape for tensor in tensors})
        if len(shapes) > 1:
            names = deciding_columns(architectures, layer, kind)
            example = ", ".join(f"{name}={getattr(architectures[0], name)}" for name in names)
            raise SelectionError(
                f"{layer} {kind} has {len(shapes)} shapes in this selection, such as {shapes[0]} and {shapes[-1]}: select "
                f"one value of {' and '.join(names)}, such as data.select({example})"
            )
        self.layer, self.kind, self.shape = layer, kind, shapes[0]
        self._length = tensors[0].stop - tensors[0].start
        self._starts = np.array([tensor.start for tensor in tensors])[which]

    def _weights(self, items: np.ndarray, rows: np.ndarray) -> Tensor:
        starts = self.data.value_offset[rows] + self._starts[rows]
        return self.data.store.gather(self.data.shard_index[rows], starts, self._length).view(-1, *self.shape)


def deciding_columns(architectures: Sequence[Architecture], layer: str, kind: str) -> list[str]:
    """Return the columns on which a tensor's shape depends, of those in which the architectures differ."""
    names = []
    for name in (f.name for f in fields(Architecture)):
        values = {getattr(a, name) for a in architectures}
        if any(len({_shape(replace(a, **{name: v}), layer, kind) for v in values}) > 1 for a in architectures):
            names.append(name)
    return names


def _shape(architecture: Architecture, layer: str, kind: str) -> tuple[int, ...] | None:
    try:
        return architecture.layer(layer)[kind].shape
    except SelectionError:  # another depth has no such layer
        return None
