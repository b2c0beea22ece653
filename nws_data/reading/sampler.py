"""The order in which a training run sees a view's items: new in every epoch, and the same again after a restart."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from nws_data.randomness import Purpose, permutation
from nws_data.reading.views import WeightView
from nws_data.reading.windows import whole_number


class EpochSampler(Sampler[int]):
    """All items of a view, in an order that is a function of (seed, epoch) alone.

    :meth:`set_epoch` also moves the view on to the windows of that epoch. Lightning calls it before every epoch; in a
    loop of your own call it yourself. Pass it as ``DataLoader(view, batch_size=64, sampler=EpochSampler(view))``.

    Args:
        view: whose items are drawn.
        seed: of the order, in [0, 2^63).
        shuffle: false keeps the order of the view; windows still change with the epoch.

    Raises:
        WindowError: a seed or an epoch out of range.
    """

    def __init__(self, view: WeightView, seed: int = 0, shuffle: bool = True) -> None:
        self.view = view
        self.seed = whole_number("seed", seed, 0, 2**63)
        self.shuffle = shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.view)

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(len(self)))
        return iter(permutation(self.seed, Purpose.VIEW_ORDER, self.epoch, len(self)).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, in [0, 2^32), of the order and of the view's windows."""
        self.epoch = whole_number("epoch", epoch, 0, 2**32)
        if hasattr(self.view, "set_epoch"):
            self.view.set_epoch(epoch)
