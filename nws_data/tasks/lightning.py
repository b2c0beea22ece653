"""A task as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from nws_data.arguments import whole_number
from nws_data.errors import NWSError, SelectionError
from nws_data.read.sampler import EpochSampler
from nws_data.read.views import GlobalVectors, PermutedVectors, WeightView
from nws_data.tasks.task import Task

try:
    from lightning import LightningDataModule
except ModuleNotFoundError:

    class LightningDataModule:  # type: ignore[no-redef]
        """In its place where Lightning is not installed: ``help(nws_data)`` and ``import *`` need the name."""

        def __init__(self) -> None:
            raise NWSError("TaskDataModule needs Lightning; install it with pip install 'nws-data[bench]'")


Loader = DataLoader[tuple[Tensor, Tensor]]


class TaskDataModule(LightningDataModule):
    """Loaders of a task for ``lightning.Trainer``: batches ``[weights, labels]``, float32 ``(n, length)`` and ``(n,)``.

    Order and random windows of training are new in every epoch, functions of (seed, epoch): no hook is needed, and a
    training resumed from the end of an epoch continues with what it would have seen. From a checkpoint in the middle of one,
    that epoch's first batches are seen again instead of its last ones, as Lightning warns.

    Args:
        task: from :func:`nws_data.load_task`.
        batch_size: items of a batch. A last batch of training that would hold a single item is left out, since batch
            norm cannot train on it; another item is left out in every epoch.
        seed: of the order of training.
        fixed: train on the official fixed windows instead of random ones.
        sampler: makes the sampler of the training view; by default all items in random order.
        permuted: train on :class:`PermutedVectors`: other orders of hidden units in every epoch.

    Raises:
        ArgumentError: a batch size or seed out of range.
        SelectionError: permuted windows, or vectors of several architectures.
    """

    def __init__(
        self,
        task: Task,
        batch_size: int = 64,
        seed: int = 0,
        fixed: bool = False,
        sampler: Callable[[WeightView, int], Sampler[int]] = EpochSampler,
        permuted: bool = False,
    ) -> None:
        super().__init__()
        self.task = task
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.seed = whole_number("seed", seed, 0, 2**63)
        self._sampler = sampler
        self._train = task.view("train", fixed=True) if fixed else task.train
        if permuted and not isinstance(self._train, GlobalVectors):
            raise SelectionError(f"{task.name}: windows cannot be permuted, only whole vectors; use a global task")
        if permuted:
            view = PermutedVectors(self._train.data, target=self._train.target, seed=seed)
            self._train = view.with_row_labels(self._train.row_labels)

    def train_dataloader(self) -> Loader:
        """Return the training items, in a new order every epoch."""
        view, sampler = self._train, self._sampler(self._train, self.seed)
        n_items = len(sampler)  # type: ignore[arg-type]  # EpochSampler and its like have a length
        single = self.batch_size > 1 and n_items > 1 and n_items % self.batch_size == 1
        return DataLoader(view, batch_size=self.batch_size, sampler=sampler, drop_last=single)

    def val_dataloader(self) -> Loader | list[Loader]:
        """Return the validation items in order; no loader where the task has no validation side."""
        return [] if self.task.validation is None else DataLoader(self.task.validation, batch_size=self.batch_size)

    def test_dataloader(self) -> Loader:
        """Return the test items in order."""
        return DataLoader(self.task.test, batch_size=self.batch_size)

    def predict_dataloader(self) -> Loader:
        """Return the test items in order, so that predictions joined together are what ``task.evaluate`` takes."""
        return self.test_dataloader()
