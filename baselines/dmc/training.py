"""Trains a module under Lightning so that a run may be killed at any moment and goes on where it was.

A run is named by what decides its result (:func:`run_key`); its folder holds ``run.json``, ``checkpoint.ckpt`` and
``logs/``. A checkpoint is written under another name and renamed, so there is a complete one or none.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
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
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from baselines.dmc.options import PRECISIONS, TrainingOptions
from baselines.method import MethodError
from nws_data.storage.atomic import atomic_file, make_folder, remove_stale, write_bytes

CHECKPOINT = "checkpoint.ckpt"


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the name of a run: 16 hexadecimal digits of what decides its result."""
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def train(
    module: LightningModule, data: LightningDataModule, options: TrainingOptions, folder: Path, identity: Mapping[str, Any]
) -> None:
    """Train ``module`` to the end, going on from the checkpoint of the same run where ``folder`` holds one.

    Args:
        module: with its initial weights; has the final ones afterwards.
        data: loaders that are functions of the epoch.
        options: how to run.
        folder: where runs are kept, each in a subfolder of its own, ``folder/<key>``.
        identity: all that decides the result, of plain JSON values.

    Raises:
        KeyboardInterrupt: Ctrl-C; the last checkpoint is kept.
        MethodError: the folder holds a damaged checkpoint.
        BuildError: it cannot be written.
    """
    run = folder / run_key(identity)
    make_folder(run)
    remove_stale(run)
    if not (run / "run.json").exists():
        write_bytes(run / "run.json", json.dumps(dict(identity), indent=1, sort_keys=True).encode())
    with _quiet():
        trainer = _trainer(run, options)
        saved = run / CHECKPOINT
        _fit(trainer, module, data, _checked(saved) if saved.exists() else None)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear complete under their name, or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint by :func:`atomic_file`, and keep the one before until it is there."""
        with atomic_file(Path(path)) as stream:
            torch.save(checkpoint, stream)


class EpochCheckpoint(Checkpoint):
    """Writes the checkpoint at the end of an epoch, when the last one is old enough, and at the end of the run."""

    def __init__(self, path: Path, every_s: float) -> None:
        super().__init__()
        self.path, self.every_s = path, every_s
        self._written_s = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, perhaps; Lightning calls this after everything else that belongs to the epoch."""
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if last or time.monotonic() - self._written_s >= self.every_s:
            trainer.save_checkpoint(self.path)
            self._written_s = time.monotonic()


def _trainer(run: Path, options: TrainingOptions) -> Trainer:
    visible = sys.stderr.isatty() and sys.stdout.isatty()
    callbacks: list[Callback] = [EpochCheckpoint(run / CHECKPOINT, options.checkpoint_every_s)]
    return Trainer(
        accelerator=options.device,
        devices=1,
        precision=PRECISIONS[options.precision],
        max_epochs=options.epochs,
        limit_val_batches=1.0 if options.validate else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=_logger(run, options.logger),
        callbacks=[*callbacks, TQDMProgressBar()] if visible else callbacks,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=visible,
        enable_model_summary=False,
    )


def _logger(run: Path, kind: str) -> Logger:
    """Return a logger into ``run/logs``; every start of a run has a file of its own."""
    made: Logger = (TensorBoardLogger if kind == "tensorboard" else CSVLogger)(run, name="logs")
    return made


def _checked(path: Path) -> Path:
    """Return the path of a checkpoint that can be read."""
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # torch raises many kinds for foreign bytes
        raise MethodError(f"{path} is no complete checkpoint: {error}; remove it to train from the beginning") from error
    return path


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
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
