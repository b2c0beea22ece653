"""Batches that are gathered at once and pass through any ``DataLoader`` without being stacked again.

A Dataset's ``__getitems__`` returns a :class:`GatheredBatch`: a sequence of ``(weights, label)`` tuples for a custom
``collate_fn``; torch's ``default_collate`` takes the tensors as they are, by an entry in its ``default_collate_fn_map``. Its
private module is the only home of that table, which torch documents for this use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data._utils.collate import collate, default_collate_fn_map


class Sample(tuple[Tensor, Tensor]):
    """One ``(weights, label)`` of a :class:`GatheredBatch`; a plain tuple in every other respect."""

    __slots__ = ()


class GatheredBatch(Sequence[Sample]):
    """A batch as two tensors, weights ``(n, ...)`` and labels ``(n,)``, that reads as a sequence of samples."""

    __slots__ = ("labels", "weights")

    def __init__(self, weights: Tensor, labels: Tensor) -> None:
        self.weights = weights
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return GatheredBatch(self.weights[index], self.labels[index])
        return Sample((self.weights[index], self.labels[index]))

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, zip(self.weights, self.labels, strict=True))


def collate_samples(
    batch: Sequence[Sample], *, collate_fn_map: dict[type | tuple[type, ...], Callable[..., Any]] | None = None
) -> list[Any]:
    """Return ``[weights, labels]``: of a :class:`GatheredBatch` as they are, of other sequences stacked as usual."""
    if isinstance(batch, GatheredBatch):
        return [batch.weights, batch.labels]
    return [collate(values, collate_fn_map=collate_fn_map) for values in zip(*batch, strict=True)]


default_collate_fn_map[Sample] = collate_samples
