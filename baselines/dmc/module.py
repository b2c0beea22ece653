"""The DMC as a LightningModule: loss, optimizer and what is logged."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from baselines.dmc.layers import DMCLayers
from baselines.dmc.network import DMCNetwork

N_DECAYS = 50
DECAY = 0.95
"""The learning rate is multiplied by ``DECAY`` ``N_DECAYS`` times, evenly over the run."""


def rate_factor(step: int, n_steps: int) -> float:
    """Return what the learning rate is multiplied by in training step ``step`` (from 0) of ``n_steps``."""
    return DECAY ** (N_DECAYS * step // n_steps)


class DMCModule(LightningModule):
    """A DMC with its training: Adam and cross-entropy, or the squared error of a standardised target.

    Works in a plain ``lightning.Trainer`` with :class:`nws_data.tasks.lightning.TaskDataModule`. Logs ``loss`` and
    ``accuracy`` (classification) of training by epoch, and the same with ``validation_`` and ``test_`` before them.

    Args:
        length: values of an input.
        n_classes: classes; None for a regression.
        seed: of initial weights and dropout, in [0, 2^63).
        target_mean: mean of a regression's target; predictions are in the target's own unit.
        target_scale: its standard deviation.
        learning_rate, batch_statistics, inputs: options of :class:`baselines.dmc.method.DMC`.

    Raises:
        MethodError: inputs that are too short for the pools.

    Source: Eilertsen et al. 2020, Supplement F.1.
    """

    def __init__(
        self,
        length: int,
        n_classes: int | None,
        learning_rate: float = 1e-3,
        seed: int = 0,
        target_mean: float = 0.0,
        target_scale: float = 1.0,
        batch_statistics: bool = False,
        inputs: str = "raw",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.classifies = n_classes is not None
        self.learning_rate, self.target_mean, self.target_scale = learning_rate, target_mean, target_scale
        self.network = DMCNetwork(DMCLayers.of(length, n_classes or 1), seed, inputs, batch_statistics)

    def forward(self, weights: Tensor) -> Tensor:
        """Return logits ``(n, n_classes)``, or predictions ``(n,)`` in the target's unit, of weights ``(n, length)``."""
        return self._in_unit(self.network(weights))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch; logs it."""
        self.network.step = self.global_step
        return self._loss(batch, "")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the scores of a validation batch."""
        self._loss(batch, "validation_")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the scores of a test batch."""
        self._loss(batch, "test_")

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int = 0) -> Tensor:
        """Return class probabilities ``(n, n_classes)``, or predictions ``(n,)``, float32."""
        return self.predicted(self.network(batch[0]))

    def predicted(self, out: Tensor) -> Tensor:
        """Return what :meth:`predict_step` returns for outputs of the network, ``(n, n_outputs)``."""
        out = self._in_unit(out)
        return out.softmax(dim=1) if self.classifies else out

    def _in_unit(self, out: Tensor) -> Tensor:
        out = out.float()
        return out if self.classifies else out[:, 0] * self.target_scale + self.target_mean

    def configure_optimizers(self) -> Any:
        """Return Adam and the schedule of its rate, which is stepped with every batch."""
        fused = self.device.type in ("cpu", "cuda")
        optimizer = torch.optim.Adam(self.network.parameters(), self.learning_rate, fused=fused)
        n_steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(min(step, n_steps), n_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: tuple[Tensor, Tensor], prefix: str) -> Tensor:
        weights, labels = batch
        out = self(weights)
        if self.classifies:
            loss = F.cross_entropy(out, labels)
            accuracy = multiclass_accuracy(out.detach(), labels, out.shape[1], "micro", validate_args=False)
            logged = {f"{prefix}accuracy": accuracy, f"{prefix}loss": loss.detach()}
        else:
            loss = F.mse_loss(out / self.target_scale, labels / self.target_scale)
            logged = {f"{prefix}loss": loss.detach()}
        self.log_dict(logged, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels))
        return loss
