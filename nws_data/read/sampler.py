"""The order in which a training run sees a view's items: new in every epoch, the same after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import ConcatDataset, Sampler, Subset

from nws_data.arguments import whole_number
from nws_data.errors import SelectionError
from nws_data.randomness import Purpose, permutation
from nws_data.read.views import WeightView


class EpochSampler(Sampler[int]):
    """All items of a view, in an order that is a function of (seed, epoch) alone.

    :meth:`set_epoch` also moves the view on to the windows of that epoch. Lightning calls it before every epoch; in a
    loop of your own call it yourself. Pass it as ``DataLoader(view, batch_size=64, sampler=EpochSampler(view))``.

    Args:
        view: whose items are drawn; or a ``Subset``, as ``random_split`` makes, or ``ConcatDataset`` of views.
        seed: of the order, in [0, 2^63).
        shuffle: false keeps the order of the view; windows still change with the epoch.

    Raises:
        ArgumentError: a seed or an epoch out of range.
        SelectionError: a dataset in which no view is found.
    """

    def __init__(self, view: WeightView | Subset[Any] | ConcatDataset[Any], seed: int = 0, shuffle: bool = True) -> None:
        self._views = list(_views(view))
        if not self._views:
            raise SelectionError(
                f"EpochSampler takes a view, or a Subset or ConcatDataset of them, got {type(view).__name__}"
            )
        self.view = view
        self.seed = whole_number("seed", seed, 0, 2**63)
        self.shuffle = shuffle
        self.epoch = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.view!r}, seed={self.seed}, shuffle={self.shuffle}, epoch={self.epoch})"

    def __len__(self) -> int:
        return len(self.view)

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(len(self)))
        return iter(permutation(self.seed, Purpose.VIEW_ORDER, self.epoch, len(self)).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, in [0, 2^32), of the order and of the view's windows."""
        self.epoch = whole_number("epoch", epoch, 0, 2**32)
        for view in self._views:
            if hasattr(view, "set_epoch"):
                view.set_epoch(epoch)


def _views(dataset: Any) -> Iterator[Any]:
    """Yield what has epochs, and the other views, of a dataset or below one of torch's."""
    if isinstance(dataset, WeightView) or hasattr(dataset, "set_epoch"):
        yield dataset
    elif isinstance(dataset, Subset):
        yield from _views(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _views(part)
