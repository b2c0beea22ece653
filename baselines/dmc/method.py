"""The DMC as a method: fit on a task, predict on a view."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from baselines.dmc.layers import DMCLayers
from baselines.method import Method, MethodError
from nws_data.errors import one_of
from nws_data.machine import keep_freed_memory

if TYPE_CHECKING:  # not at run time: the list of methods reads the options below without torch
    import numpy as np
    import torch

    from baselines.dmc.budget import Budget
    from baselines.dmc.module import DMCModule
    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task

DEVICES = ("auto", "cpu", "gpu")
_PREDICTED = 64  # items of a batch in evaluation
_VERSION = 2  # raise it when the same options come to train differently, so that old checkpoints are not gone on with


class DMC(Method):
    """Deep meta-classifier of Eilertsen et al. 2020: a 1D CNN on raw weights, trained by Adam on cross-entropy.

    Global or local net by the length of the task's items; a regression has one output and the squared error of the
    standardised target. The model after the last epoch is the one that predicts. All is computed in float32: in bfloat16
    gradients do not point where the loss falls (cosine 0 to 0.7 with those in float64).

    Args:
        seed: of initial weights, dropout, order and nothing else; windows are the task's.
        inputs: ``"raw"``, as in the paper, or ``"asinh"``, which tames the running variances among the weights; see
            :data:`baselines.dmc.network.INPUTS`.
        budget: defaults of epochs, snapshots_per_epoch and batch_size, see :data:`baselines.dmc.budget.BUDGETS`.
        epochs: passes over the training items; by default the budget's.
        snapshots_per_epoch: snapshots of each weight training that an epoch shows, in turn; 0 for all; by default the
            budget's.
        batch_size: items of a step, by default the budget's; a last batch of one item is left out, batch norm cannot
            train on it.
        permute: train on another order of hidden units in every epoch (whole vectors only), see
            :class:`nws_data.PermutedVectors`.
        learning_rate: times 0.95 fifty times over the run.
        batch_statistics: evaluate with the statistics of batches of 64 as the original did: predictions then depend
            on companions.
        validate: log the scores of the validation side after every epoch; changes nothing else.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        folder: where runs keep checkpoints and logs, so that the same run goes on after a kill; none by default.
        checkpoint_every_s: seconds between checkpoints, which are written at ends of epochs.

    Attributes:
        training_s: seconds of training after :meth:`fit`, those of earlier processes of the same run among them.

    Raises:
        MethodError: an option out of range.
    """

    training_s: float | None = None

    def __init__(
        self,
        seed: int = 0,
        *,
        inputs: Literal["raw", "asinh"] = "raw",
        budget: Literal["paper", "short"] = "paper",
        epochs: int | None = None,
        snapshots_per_epoch: int | None = None,
        batch_size: int | None = None,
        permute: bool = False,
        learning_rate: float = 1e-3,
        batch_statistics: bool = False,
        validate: bool = False,
        device: Literal["auto", "cpu", "gpu"] = "auto",
        folder: Path | None = None,
        checkpoint_every_s: float = 60.0,
    ) -> None:
        from baselines.dmc.budget import BUDGETS
        from baselines.dmc.network import INPUTS

        super().__init__(seed)
        choices: tuple[tuple[str, str, Collection[str]], ...] = (
            ("budget", budget, BUDGETS),
            ("inputs", inputs, INPUTS),
            ("device", device, DEVICES),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise MethodError(f"{name}: {one_of(value, allowed)}")
        _at_least("epochs", epochs, 1)
        _at_least("batch_size", batch_size, 2)
        _at_least("snapshots_per_epoch", snapshots_per_epoch, 0)
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise MethodError(f"learning_rate must be above 0, got {learning_rate}")
        if not (math.isfinite(checkpoint_every_s) and checkpoint_every_s >= 0):
            raise MethodError(f"checkpoint_every_s must be a number of seconds of at least 0, got {checkpoint_every_s}")
        self._budget: Budget = BUDGETS[budget]
        self._epochs = epochs
        self._shown = (self._budget.snapshots_per_epoch if snapshots_per_epoch is None else snapshots_per_epoch) or None
        self._batch_size = batch_size or self._budget.batch_size
        self._inputs, self._learning_rate, self._batch_statistics = inputs, learning_rate, batch_statistics
        self._folder, self._device, self._permute = folder, device, permute
        self._running: dict[str, Any] = {"device": device, "validate": validate, "checkpoint_every_s": checkpoint_every_s}
        self._module: DMCModule | None = None
        self._length = 0

    def fit(self, task: Task) -> None:
        """Train on ``task.train``, from the checkpoint of the same run where ``folder`` holds one.

        Raises:
            MethodError: inputs that are too short, fewer than two training items, a folder that cannot be used, or a
                checkpoint there that is damaged or of another run.
            BuildError: a checkpoint cannot be written.
            KeyboardInterrupt: Ctrl-C; the last checkpoint is kept.
        """
        from baselines.dmc.budget import RotatingSampler
        from baselines.dmc.module import DMCModule
        from baselines.dmc.training import train
        from nws_data.read.sampler import EpochSampler
        from nws_data.tasks.lightning import TaskDataModule

        length = item_length(task.train)
        n_classes = task.n_classes if task.kind == "classification" else None
        if len(task.train) < 2:
            raise MethodError(f"the DMC needs at least 2 training items, {task.name} has {len(task.train)}")
        mean, scale = (0.0, 1.0) if n_classes else standardisation(task.train.labels)
        module = DMCModule(
            length,
            n_classes,
            learning_rate=self._learning_rate,
            seed=self.seed,
            target_mean=mean,
            target_scale=scale,
            batch_statistics=self._batch_statistics,
            inputs=self._inputs,
        )
        sampler = partial(RotatingSampler, per_training=self._shown) if self._shown else EpochSampler
        data = TaskDataModule(task, self._batch_size, self.seed, sampler=sampler, permuted=self._permute)
        epochs = self._epochs or self._budget.epochs(length)
        keep_freed_memory()
        with tempfile.TemporaryDirectory() as temporary:
            folder, identity = Path(self._folder or temporary), self._identity(task, epochs)
            self.training_s = train(module, data, folder, identity, epochs=epochs, **self._running)
        self._module, self._length = module, length
        self.n_parameters = DMCLayers.of(length, n_classes or 1).n_values

    def predict(self, view: WeightView) -> np.ndarray:
        """Return class probabilities, float32 ``(len(view), n_classes)``, or numbers ``(len(view),)``.

        Windows on a grid, see :class:`nws_data.FixedWindows`, share what they have in common: :mod:`baselines.dmc.overlap`.

        Raises:
            MethodError: before :meth:`fit`, or for a view of another length.
        """
        import torch
        from torch.utils.data import DataLoader

        from baselines.dmc import overlap
        from nws_data.read.views import FixedWindows

        if self._module is None:
            raise MethodError("the DMC has not been fitted: call fit(task) first")
        if item_length(view) != self._length:
            raise MethodError(f"the DMC was fitted on items of {self._length} values, this view has {item_length(view)}")
        device = "cuda" if self._device != "cpu" and torch.cuda.is_available() else "cpu"
        module = self._module.to(device).eval()
        with torch.inference_mode():
            if isinstance(view, FixedWindows) and not self._batch_statistics and overlap.shares(module.network.layers, view):
                parts = [module.predicted(out) for out in overlap.outputs(module.network, view, device)]
            else:
                loader = DataLoader(view, _PREDICTED)
                parts = [module.predict_step((weights.to(device), labels)) for weights, labels in loader]
        return torch.cat(parts).float().cpu().numpy()

    def _identity(self, task: Task, epochs: int) -> dict[str, Any]:
        """Return all that decides the weights after training, but for the machine."""
        return {
            "version": _VERSION,
            "task": task.name,
            "windows_seed": task.seed,
            "data_digest": task.data_digest,
            "seed": self.seed,
            "epochs": epochs,
            "snapshots_per_epoch": self._shown,
            "batch_size": self._batch_size,
            "inputs": self._inputs,
            "learning_rate": self._learning_rate,
            **({"permute": True} if self._permute else {}),  # runs without it go on with their checkpoints of before
        }


def item_length(view: WeightView) -> int:
    """Return the values of a view's items; raises ``MethodError`` for a view of something else than vectors."""
    length = getattr(view, "length", None)
    if not isinstance(length, int):
        raise MethodError(f"the DMC reads whole vectors or windows, got {view!r}")
    return length


def standardisation(targets: torch.Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of a regression's targets ``(n,)``; 1 where all are equal."""
    values = targets.double()
    return values.mean().item(), values.std(correction=0).item() or 1.0


def _at_least(name: str, value: int | None, low: int) -> None:
    if value is not None and value < low:
        raise MethodError(f"{name} must be at least {low}, got {value}")
