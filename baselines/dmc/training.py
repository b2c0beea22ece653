"""Trains a module under Lightning so that a run may be killed at any moment and goes on where it was.

A run is named by what decides its result (:func:`run_key`); its folder holds ``run.json``, ``checkpoint.ckpt`` and
``logs/``. A checkpoint is written under another name and renamed, so there is a complete one or none. It holds what names
its run, so that one copied from another run is refused, and the seconds spent so far.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, LambdaCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from baselines.method import MethodError
from nws_data.atomic import atomic_file, make_folder, remove_stale, write_bytes
from nws_data.progress import progress_bar

CHECKPOINT = "checkpoint.ckpt"
_RUN = "nws_run"  # the field of a checkpoint that is ours: identity (JSON text) and seconds
_LIGHTNING = ("epoch", "global_step", "loops", "state_dict", "optimizer_states", "lr_schedulers")  # what going on needs
_REMOVE = "remove it to train from the beginning"


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the name of a run: 16 hexadecimal digits of what decides its result."""
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def train(
    module: LightningModule,
    data: LightningDataModule,
    folder: Path,
    identity: Mapping[str, Any],
    *,
    epochs: int,
    device: str = "auto",
    checkpoint_every_s: float = 60.0,
    validate: bool = False,
) -> float:
    """Train ``module`` to the end, going on from the checkpoint of the same run where ``folder/<key>`` holds one.

    Options and errors as of :class:`baselines.dmc.method.DMC`; ``data`` has loaders that are functions of the epoch,
    ``identity`` is all that decides the result, of plain JSON values. Returns the seconds of training: of this process,
    and of earlier ones up to the checkpoints from which the run went on.
    """
    run = folder / run_key(identity)
    keeper = EpochCheckpoint(run / CHECKPOINT, checkpoint_every_s, json.dumps(identity, sort_keys=True))
    try:
        make_folder(run)
        remove_stale(run)  # what killed writers left
    except OSError as error:
        raise MethodError(f"folder: cannot keep a run in {run}: {error.strerror}; give one that may be written") from error
    if not (run / "run.json").exists():
        write_bytes(run / "run.json", json.dumps(dict(identity), indent=1, sort_keys=True).encode())
    form = "dmc {bar} {n_fmt}/{total_fmt} steps, {remaining} left"
    with _quiet(), progress_bar(bar_format=form) as bar:
        saved = keeper.path if keeper.path.exists() else None
        keeper.earlier_s = _checked(saved, module, keeper.identity) if saved else 0.0
        _fit(_trainer(keeper, bar, epochs, device, validate), module, data, saved)
    return keeper.seconds


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear complete under their name, or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint by :func:`atomic_file`, and keep the one before until it is there."""
        with atomic_file(Path(path)) as stream:
            torch.save(checkpoint, stream)


class EpochCheckpoint(Checkpoint):
    """Writes the checkpoint at the end of an epoch, when the last one is old enough, and at the end of the run.

    ``identity`` is all that decides the result, as JSON text with sorted keys; ``earlier_s`` are the seconds of earlier
    processes, each up to its last checkpoint.
    """

    def __init__(self, path: Path, every_s: float, identity: str) -> None:
        super().__init__()
        self.path, self.every_s, self.identity, self.earlier_s = path, every_s, identity, 0.0
        self._started_s = self._written_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of all processes up to now."""
        return self.earlier_s + time.monotonic() - self._started_s

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, perhaps; Lightning calls this after everything else that belongs to the epoch."""
        if trainer.current_epoch + 1 == trainer.max_epochs or time.monotonic() - self._written_s >= self.every_s:
            trainer.save_checkpoint(self.path)
            self._written_s = time.monotonic()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint whose it is and how long the run took so far."""
        checkpoint[_RUN] = {"identity": self.identity, "seconds": self.seconds}


def _trainer(keeper: EpochCheckpoint, bar: Any, epochs: int, device: str, validate: bool) -> Trainer:
    def show(trainer: Trainer, *_: Any) -> None:
        bar.total = epochs * trainer.num_training_batches
        bar.update(trainer.global_step - bar.n)

    return Trainer(
        accelerator=device,
        devices=1,
        max_epochs=epochs,
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=CSVLogger(keeper.path.parent, name="logs"),
        callbacks=[keeper, LambdaCallback(on_train_batch_end=show)],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _checked(path: Path, module: LightningModule, identity: str) -> float:
    """Return the seconds that a run's checkpoint tells; raises ``MethodError`` for any other file."""
    try:
        found = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # torch raises many kinds for foreign bytes
        raise MethodError(f"{path} is no complete checkpoint: {error}; {_REMOVE}") from error
    record = found.get(_RUN) if isinstance(found, dict) else None
    if not isinstance(record, dict) or set(record) != {"identity", "seconds"}:
        raise MethodError(f"{path} is no checkpoint of a run of the DMC; {_REMOVE}")
    if record["identity"] != identity:
        raise MethodError(f"{path} is the checkpoint of another run, {record['identity']}; {_REMOVE}")
    if any(key not in found for key in _LIGHTNING) or _shapes(found["state_dict"]) != _shapes(module.state_dict()):
        raise MethodError(f"{path} does not hold the weights and the state of this run; {_REMOVE}")
    return float(record["seconds"])


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _fit(trainer: Trainer, module: LightningModule, data: LightningDataModule, checkpoint: Path | None) -> None:
    """Run the trainer; Lightning turns Ctrl-C into an exit of the program and leaves it ignored, which is undone here."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt from error
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's remarks (tips, devices, numbers of workers) and keep its errors."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
