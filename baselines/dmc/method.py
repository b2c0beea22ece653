"""The DMC as a method: fit on a task, predict on a view."""

from __future__ import annotations

import math
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from baselines.method import Method, MethodError, choice, item_length, positive
from nws_data.arguments import whole_number
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
_VERSION = 3  # raise it when the same options come to train differently, so that old checkpoints are not gone on with


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

    Raises:
        MethodError, ArgumentError: an option out of range.
    """

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
        if not (math.isfinite(checkpoint_every_s) and checkpoint_every_s >= 0):
            raise MethodError(f"checkpoint_every_s must be a number of seconds of at least 0, got {checkpoint_every_s}")
        self._budget: Budget = BUDGETS[choice("budget", budget, BUDGETS)]
        shown = self._budget.snapshots_per_epoch if snapshots_per_epoch is None else snapshots_per_epoch
        size = self._budget.batch_size if batch_size is None else batch_size
        self._epochs = None if epochs is None else whole_number("epochs", epochs, 1)
        self._shown = whole_number("snapshots_per_epoch", shown, 0)
        self._batch_size = whole_number("batch_size", size, 2)
        self._inputs, self._device = choice("inputs", inputs, INPUTS), choice("device", device, DEVICES)
        self._learning_rate, self._batch_statistics = positive("learning_rate", learning_rate), batch_statistics
        self._folder, self._permute = folder, permute
        self._running: dict[str, Any] = {"device": device, "validate": validate, "checkpoint_every_s": checkpoint_every_s}
        self._module: DMCModule | None = None

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
        self._module, self.length = module, length
        self.n_parameters = sum(values.numel() for values in module.network.state_dict().values())  # as the paper counts

    def predict(self, view: WeightView) -> np.ndarray:
        """Return class probabilities, float32 ``(len(view), n_classes)``, or numbers ``(len(view),)``.

        Windows on a grid, see :class:`nws_data.FixedWindows`, share what they have in common: :mod:`baselines.dmc.overlap`.

        Raises:
            MethodError: before :meth:`fit`, or for a view of another length.
        """
        import torch

        from baselines.dmc import overlap
        from nws_data.read.views import FixedWindows

        self.check_view(view)
        device = "cuda" if self._device != "cpu" and torch.cuda.is_available() else "cpu"
        module = cast("DMCModule", self._module).to(device).eval()
        with torch.inference_mode():
            if isinstance(view, FixedWindows) and not self._batch_statistics and overlap.shares(module.network.layers, view):
                parts = [module.predicted(out) for out in overlap.outputs(module.network, view, device)]
            else:
                batches = (view[i : i + _PREDICTED][0].to(device) for i in range(0, len(view), _PREDICTED))
                parts = [module.predicted(module.network(weights)) for weights in batches]
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
            "snapshots_per_epoch": self._shown or None,
            "batch_size": self._batch_size,
            "inputs": self._inputs,
            "learning_rate": self._learning_rate,
            **({"permute": True} if self._permute else {}),  # runs without it go on with their checkpoints of before
        }


def standardisation(targets: torch.Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of a regression's targets ``(n,)``; 1 where all are equal."""
    values = targets.double()
    return values.mean().item(), values.std(correction=0).item() or 1.0
