"""Runs that stop and go on, with a module that trains in no time; the DMC itself is killed in test_method.py."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule, LightningModule

from baselines.dmc.method import DMC
from baselines.dmc.training import CHECKPOINT, AtomicCheckpointIO, run_key, train
from baselines.method import MethodError
from nws_data.errors import ArgumentError, BuildError

EPOCHS = 6
NAN, INF = float("nan"), float("inf")


class Small(LightningModule):
    """A matrix with momentum; raises Ctrl-C at the start of an epoch when told."""

    def __init__(self, interrupted_at: int | None = None) -> None:
        super().__init__()
        self.matrix = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.ones_(self.matrix.weight)
        self.interrupted_at = interrupted_at
        self.epochs: list[int] = []

    def on_train_epoch_start(self) -> None:
        self.epochs.append(self.current_epoch)
        if self.current_epoch == self.interrupted_at:
            raise KeyboardInterrupt

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = (self.matrix(batch) - self.current_epoch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class Numbers(LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.arange(12.0).view(4, 3), batch_size=2)


def timed_run(folder: Path, module: LightningModule, epochs: int = EPOCHS, name: str = "a") -> float:
    return train(module, Numbers(), folder, {"name": name}, epochs=epochs, device="cpu", checkpoint_every_s=0)


def run(folder: Path, module: Small, epochs: int = EPOCHS, name: str = "a") -> list[float]:
    timed_run(folder, module, epochs, name)
    return module.matrix.weight.flatten().tolist()


def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_weights(tmp_path):
    expected = run(tmp_path / "whole", Small())
    handler = signal.getsignal(signal.SIGINT)
    for stop in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", Small(stop))
        assert signal.getsignal(signal.SIGINT) is handler
    module = Small()
    assert run(tmp_path / "stopped", module) == expected
    assert module.epochs == [3, 4, 5]
    again = Small()
    assert run(tmp_path / "stopped", again) == expected and again.epochs == []


def test_another_run_has_a_folder_of_its_own(tmp_path):
    run(tmp_path, Small(), name="a")
    module = Small()
    run(tmp_path, module, name="b")
    assert module.epochs == list(range(EPOCHS))
    assert {path.name for path in tmp_path.iterdir()} == {run_key({"name": "a"}), run_key({"name": "b"})}
    assert json.loads((tmp_path / run_key({"name": "a"}) / "run.json").read_text()) == {"name": "a"}
    assert "loss" in next(tmp_path.glob("*/logs/version_0/metrics.csv")).read_text()


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    run(tmp_path, Small())
    path = tmp_path / run_key({"name": "a"}) / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MethodError, match=r"is no complete checkpoint.*remove it to train from the beginning"):
        run(tmp_path, Small())


class Wide(Small):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Linear(4, 1, bias=False)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(tmp_path, Small(), name="a")
    run(tmp_path, Small(), name="b")
    a, b = (tmp_path / run_key({"name": name}) / CHECKPOINT for name in "ab")
    a.write_bytes(b.read_bytes())
    with pytest.raises(MethodError, match=r'is the checkpoint of another run, \{"name": "b"\}; remove it'):
        run(tmp_path, Small(), name="a")
    with pytest.raises(MethodError, match="does not hold the weights and the state of this run; remove it"):
        timed_run(tmp_path, Wide(), name="b")


@pytest.mark.parametrize("content", [{}, torch.ones(3), {"nws_run": 3}, {"epoch": 1, "state_dict": {}}, [1]])
def test_a_foreign_file_in_a_checkpoints_place_is_refused(tmp_path, content):
    path = tmp_path / run_key({"name": "a"}) / CHECKPOINT
    path.parent.mkdir()
    torch.save(content, path)
    with pytest.raises(MethodError, match="is no checkpoint of a run of the DMC; remove it"):
        run(tmp_path, Small())


def test_a_checkpoint_without_lightnings_fields_is_refused(tmp_path):
    run(tmp_path, Small())
    path = tmp_path / run_key({"name": "a"}) / CHECKPOINT
    saved = torch.load(path, weights_only=True)
    for lost in ("loops", "state_dict", "optimizer_states"):
        torch.save({name: value for name, value in saved.items() if name != lost}, path)
        with pytest.raises(MethodError, match="does not hold the weights and the state"):
            run(tmp_path, Small())


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MethodError, match=r"folder: cannot keep a run in .*; give one that may be written"):
            run(folder, Small())


def test_the_seconds_of_earlier_processes_count(tmp_path):
    assert timed_run(tmp_path, Small()) > 0
    path = tmp_path / run_key({"name": "a"}) / CHECKPOINT
    saved = torch.load(path, weights_only=True)
    assert saved["nws_run"]["seconds"] > 0
    saved["nws_run"]["seconds"] += 1000
    torch.save(saved, path)
    assert saved["nws_run"]["seconds"] < timed_run(tmp_path, Small())


def test_a_failed_write_keeps_the_checkpoint_before_and_sweeps_up(tmp_path):
    path = tmp_path / CHECKPOINT
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2, "x": lambda: 0}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(BuildError, match="cannot write"):
        AtomicCheckpointIO().save_checkpoint({}, path / "below" / CHECKPOINT)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    left = tmp_path / run_key({"name": "a"}) / f".{CHECKPOINT}.tmp-123"
    left.parent.mkdir()
    left.write_bytes(b"half")
    run(tmp_path, Small(), epochs=1)
    assert not left.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device: got 'tpu'; choose one of auto, cpu, gpu"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        *(({"checkpoint_every_s": value}, f"checkpoint_every_s .* at least 0, got {value}") for value in (-1.0, NAN, INF)),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises((MethodError, ArgumentError), match=message):
        DMC(**options)
