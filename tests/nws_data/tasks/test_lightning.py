"""The data module under a real Trainer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from nws_data.errors import ArgumentError, SelectionError
from nws_data.read.views import PermutedVectors, RandomWindows
from nws_data.tasks.lightning import TaskDataModule
from nws_data.tasks.task import load_task
from tests.processes import Process


class Recorder(LightningModule):
    """Remembers every batch; one parameter, so that there is something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[tuple[torch.Tensor, torch.Tensor]]]] = {"train": [], "validation": []}

    def on_train_epoch_start(self) -> None:
        self.seen["train"].append([])

    def on_validation_epoch_start(self) -> None:
        self.seen["validation"].append([])

    def training_step(self, batch, batch_idx):
        self.seen["train"][-1].append(batch)
        return self.value * batch[0].mean()

    def validation_step(self, batch, batch_idx):
        self.seen["validation"][-1].append(batch)

    def predict_step(self, batch, batch_idx):
        return batch[0][:, :2]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(task, epochs: int = 3, devices: int = 1, strategy: str = "auto", **options) -> tuple[Recorder, Trainer]:
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    recorder = Recorder()
    trainer.fit(recorder, datamodule=TaskDataModule(task, **options))
    return recorder, trainer


def joined(batches) -> tuple[np.ndarray, np.ndarray]:
    return torch.cat([weights for weights, _ in batches]).numpy(), torch.cat([labels for _, labels in batches]).numpy()


@pytest.mark.slow
def test_every_epoch_has_all_items_in_a_new_order_with_new_windows(task_dataset):
    task = load_task("local/augmentation@100", task_dataset.root)
    recorder, _ = fit(task, seed=4)
    epochs = [joined(batches) for batches in recorder.seen["train"]]
    for epoch, (weights, labels) in enumerate(epochs):
        view = RandomWindows(task.train.data, 100, target="augmentation")
        view.set_epoch(epoch)
        expected = np.stack([view[i][0].numpy() for i in range(len(view))])
        assert sorted(map(bytes, weights)) == sorted(map(bytes, expected))
        assert sorted(labels) == sorted(task.train.labels)
        assert not np.array_equal(weights, expected)
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    again, _ = fit(task, seed=4)
    assert all(np.array_equal(a[0], joined(b)[0]) for a, b in zip(epochs, again.seen["train"], strict=True))
    other, _ = fit(task, 1, seed=5)
    assert not np.array_equal(joined(other.seen["train"][0])[0], epochs[0][0])


def test_other_sides_stay_in_order(task_dataset):
    task = load_task("local/augmentation@100", task_dataset.root)
    recorder, trainer = fit(task, 2)
    expected = np.stack([task.validation[i][0].numpy() for i in range(len(task.validation))])
    for batches in recorder.seen["validation"]:
        np.testing.assert_array_equal(joined(batches)[0], expected)
    predicted = torch.cat(trainer.predict(recorder, datamodule=TaskDataModule(task, 7)))
    np.testing.assert_array_equal(predicted, np.stack([task.test[i][0][:2].numpy() for i in range(len(task.test))]))
    assert len(TaskDataModule(task).test_dataloader().dataset) == len(task.test)


def test_fixed_trains_on_the_official_windows(task_dataset):
    task = load_task("local/augmentation@100", task_dataset.root)
    recorder, _ = fit(task, 2, fixed=True)
    first, second = (joined(batches)[0] for batches in recorder.seen["train"])
    assert len(first) == 10 * len(task.train)
    assert sorted(map(bytes, first)) == sorted(map(bytes, second)) and not np.array_equal(first, second)


def test_a_training_resumed_after_an_epoch_sees_what_it_would_have_seen(task_dataset, tmp_path):
    task = load_task("local/augmentation@100", task_dataset.root)
    expected = [joined(batches)[0] for batches in fit(task, 3)[0].seen["train"]]
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=1, default_root_dir=tmp_path, **quiet).fit(Recorder(), datamodule=TaskDataModule(task))
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    resumed = Recorder()
    trainer = Trainer(max_epochs=3, default_root_dir=tmp_path, **quiet)
    trainer.fit(resumed, datamodule=TaskDataModule(task), ckpt_path=checkpoint)
    for found, epoch in zip(resumed.seen["train"], expected[1:], strict=True):
        np.testing.assert_array_equal(joined(found)[0], epoch)


def fit_as_two(root: Path, folder: Path) -> int:
    """Fit in this process and a copy of it, which Lightning takes for processes that somebody started, as torchrun does."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    other = os.fork()
    rank = 0 if other else 1
    os.environ["LOCAL_RANK"] = str(rank)
    np.random.seed(rank)  # a copy would draw the same
    torch.manual_seed(rank)
    recorder, trainer = fit(load_task("local/augmentation@100", root), 2, devices=2, strategy="ddp", seed=4)
    windows = [torch.cat([x for x, _ in epoch]) for epoch in recorder.seen["train"]]
    torch.save(windows, folder / f"{trainer.global_rank}.pt")
    return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) if other else 0


@pytest.mark.slow
def test_two_processes_share_the_windows_of_every_epoch(task_dataset, tmp_path):
    process = Process(fit_as_two, task_dataset.root, tmp_path)
    assert process.wait(500) == 0, process.printed()
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    view = load_task("local/augmentation@100", task_dataset.root).train
    for epoch in (0, 1):
        view.set_epoch(epoch)
        expected = {bytes(window.numpy()) for window, _ in view}
        seen = [[bytes(window.numpy()) for window in rank[epoch]] for rank in ranks]
        assert set(seen[0]) | set(seen[1]) == expected
        assert len(set(seen[0]) & set(seen[1])) <= 1  # of an odd number one is seen twice


def test_wrong_arguments_are_refused(task_dataset):
    task = load_task("local/augmentation@100", task_dataset.root)
    with pytest.raises(ArgumentError, match="batch_size must be at least 1, got 0"):
        TaskDataModule(task, 0)
    with pytest.raises(ArgumentError, match=r"seed must be in \[0, 2\^63\), got -1"):
        TaskDataModule(task, seed=-1)


def test_permuted_networks_are_new_in_every_epoch(task_dataset):
    task = load_task("global/augmentation/threshold=0/permuted=1", task_dataset.root)
    recorder, _ = fit(task, epochs=2, seed=4, permuted=True)
    view = PermutedVectors(task.train.data, target="augmentation", seed=4)
    assert not torch.equal(view.labels, task.train.labels)
    for epoch, batches in enumerate(recorder.seen["train"]):
        view.set_epoch(epoch)
        weights, labels = joined(batches)
        label_of = dict(zip(map(bytes, view[:][0].numpy()), task.train.labels.tolist(), strict=True))
        assert [label_of.pop(bytes(vector)) for vector in weights] == labels.tolist()
        assert not label_of
    with pytest.raises(SelectionError, match="only whole vectors"):
        TaskDataModule(load_task("local/augmentation@100", task_dataset.root), permuted=True)
