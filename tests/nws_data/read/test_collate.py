"""The views in other people's loaders: every way of batching gives the same tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    SequentialSampler,
    Subset,
    default_collate,
    random_split,
)

import nws_data.read.dataset as nws
from nws_data.read.collate import GatheredBatch
from nws_data.read.views import GlobalVectors, RandomWindows


@pytest.fixture(scope="module")
def data(tiny_dataset: Any) -> nws.NWSDataset:
    return nws.open(tiny_dataset.root, "random").select(last=3)


@pytest.fixture
def view(data: nws.NWSDataset) -> RandomWindows:
    return RandomWindows(data, 400, target="optimizer", seed=1)


def expected(view: RandomWindows, items: Sequence[int], epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows and labels by the plainest way: a slice of each vector."""
    starts, labels = view.starts(epoch), view.data.labels("optimizer")
    windows = [view.data.vector(i)[starts[i] : starts[i] + view.length] for i in items]
    return torch.stack(windows), torch.from_numpy(labels[list(items)])


def assert_reads(loader: DataLoader[Any], view: RandomWindows, items: Sequence[int], epoch: int = 0) -> None:
    batches = list(loader)
    for batch in batches:
        assert isinstance(batch, list) and len(batch) == 2
        assert batch[0].dtype == torch.float32 and batch[1].dtype == torch.int64
    weights, labels = expected(view, items, epoch)
    assert torch.equal(torch.cat([b[0] for b in batches]), weights)
    assert torch.equal(torch.cat([b[1] for b in batches]), labels)


def test_plain_loader_hands_the_gathered_tensors_through(view: RandomWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = []
    gather = view.data.store.gather
    monkeypatch.setattr(view.data.store, "gather", lambda *a: gathered.append(gather(*a)) or gathered[-1])
    batches = list(DataLoader(view, batch_size=16))
    assert [b[0].data_ptr() for b in batches] == [g.data_ptr() for g in gathered]
    assert len(batches) == len(gathered) == -(-len(view) // 16)


def test_plain_loader(view: RandomWindows) -> None:
    assert_reads(DataLoader(view, batch_size=16), view, range(len(view)))
    assert len(list(DataLoader(view, batch_size=16, drop_last=True))) == len(view) // 16


def test_shuffled_loader_reads_every_item_once(data: nws.NWSDataset) -> None:
    labels = torch.cat([y for _, y in DataLoader(RandomWindows(data, 10), batch_size=7, shuffle=True)])
    assert sorted(labels.tolist()) == list(range(len(data))) and labels.tolist() != list(range(len(data)))


def test_batches_may_be_kept_and_changed(view: RandomWindows) -> None:
    batches = list(DataLoader(view, batch_size=16))
    for x, _ in batches:
        x.mul_(2)
    assert torch.equal(torch.cat([x for x, _ in batches]), 2 * expected(view, range(len(view)))[0])
    assert_reads(DataLoader(view, batch_size=16), view, range(len(view)))


def test_batch_is_a_sequence_of_samples(view: RandomWindows) -> None:
    batch = view.__getitems__([5, 3, 8])
    weights, labels = expected(view, [5, 3, 8])
    assert len(batch) == 3 and len(list(batch)) == 3
    for i, (x, y) in enumerate(batch):
        assert torch.equal(x, weights[i]) and y == labels[i]
    x, y = batch[-1]
    assert torch.equal(x, weights[2]) and y == labels[2]
    assert isinstance(batch[1:], GatheredBatch) and torch.equal(default_collate(batch[1:])[0], weights[1:])
    assert torch.equal(default_collate([batch[2], batch[0]])[0], weights[[2, 0]])
    with pytest.raises(IndexError):
        batch[3]


def test_custom_collate_fn(view: RandomWindows) -> None:
    def centred(samples: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {"x": torch.stack([x - x.mean() for x, _ in samples]), "y": torch.tensor([int(y) for _, y in samples])}

    batch = next(iter(DataLoader(view, batch_size=6, collate_fn=centred)))
    weights, labels = expected(view, range(6))
    assert torch.equal(batch["x"], torch.stack([w - w.mean() for w in weights]))
    assert torch.equal(batch["y"], labels)


def test_subset_and_random_split(view: RandomWindows) -> None:
    items = [9, 4, 4, 60]
    assert_reads(DataLoader(Subset(view, items), batch_size=3), view, items)
    for part in random_split(view, [0.7, 0.3], torch.Generator().manual_seed(0)):
        assert_reads(DataLoader(part, batch_size=16), view, list(part.indices))


def test_concatenated(view: RandomWindows, data: nws.NWSDataset) -> None:
    both = ConcatDataset([view, RandomWindows(data, 400, target="optimizer", seed=2)])
    x = torch.cat([x for x, _ in DataLoader(both, batch_size=50)])
    second = expected(both.datasets[1], range(len(view)))[0]  # type: ignore[arg-type]
    assert torch.equal(x, torch.cat([expected(view, range(len(view)))[0], second]))


def test_own_batch_sampler_of_index_tensors(view: RandomWindows) -> None:
    batches = [torch.tensor([1, 5]), torch.tensor([7])]
    assert_reads(DataLoader(view, batch_sampler=batches), view, [1, 5, 7])  # type: ignore[arg-type]


def test_batches_drawn_by_a_sampler(view: RandomWindows) -> None:
    """torch's way to batch without a collate function."""
    order = BatchSampler(SequentialSampler(view), 16, drop_last=False)
    assert_reads(DataLoader(view, batch_size=None, sampler=order), view, range(len(view)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_that_live_on_see_new_epochs(view: RandomWindows, method: str) -> None:
    small = Subset(view, range(20))
    loader = DataLoader(
        small,
        batch_size=4,
        num_workers=2 if method == "fork" else 1,
        persistent_workers=True,
        multiprocessing_context=method,
    )
    assert_reads(loader, view, range(20), epoch=0)
    for epoch in (1, 7):
        view.set_epoch(epoch)
        assert_reads(loader, view, range(20), epoch=epoch)
    del loader


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_pinned_memory(view: RandomWindows) -> None:
    """Without an accelerator torch pins nothing, and the batches pass through all the same."""
    loader = DataLoader(view, batch_size=16, pin_memory=True)
    assert_reads(loader, view, range(len(view)))
    assert next(iter(loader))[0].is_pinned() == torch.accelerator.is_available()


def test_batches_pass_through_pinning(view: RandomWindows) -> None:
    """What the loader hands to the pinning thread is a list of two tensors, which torch knows how to pin."""
    batch = default_collate(view.__getitems__([0, 1]))
    assert type(batch) is list and all(type(x) is torch.Tensor for x in batch)


def test_lightning(view: RandomWindows, tmp_path: Path) -> None:
    import lightning

    class Classifier(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(400, 3)
            self.seen: list[torch.Tensor] = []

        def on_train_epoch_start(self) -> None:
            view.set_epoch(self.current_epoch)

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            x, y = batch
            self.seen.append(x[:, 0].clone())
            return torch.nn.functional.cross_entropy(self.linear(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 1e-3)

    module = Classifier()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, DataLoader(view, batch_size=16))
    epochs = [expected(view, range(len(view)), epoch)[0][:, 0] for epoch in (0, 1)]
    assert torch.equal(torch.cat(module.seen), torch.cat(epochs))


def test_global_vectors_in_a_loader(tiny_dataset: Any) -> None:
    data = nws.open(tiny_dataset.root, "fixed").select(last=2)
    found = torch.cat([x for x, _ in DataLoader(GlobalVectors(data), batch_size=5)])
    assert torch.equal(found, torch.stack([data.vector(i) for i in range(len(data))]))


def test_results_do_not_depend_on_batch_size_or_order(view: RandomWindows) -> None:
    order = np.random.default_rng(0).permutation(len(view)).tolist()
    assert_reads(DataLoader(view, batch_size=11, sampler=order), view, order)
