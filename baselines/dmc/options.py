"""How a run of the DMC is executed; light, so that options are refused before Lightning is loaded."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass

from baselines.method import MethodError
from nws_data.errors import one_of

LOGGERS = ("csv", "tensorboard")
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class TrainingOptions:
    """How a run is executed.

    Attributes:
        epochs: passes over the sampler.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        logger: ``"csv"`` or ``"tensorboard"``.
        checkpoint_every_s: seconds between checkpoints, which are written at ends of epochs; finite, at least 0.
        validate: score the validation side after every epoch; it changes nothing in the training.
    """

    epochs: int
    device: str = "auto"
    logger: str = "csv"
    checkpoint_every_s: float = 60.0
    validate: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("device", DEVICES), ("logger", LOGGERS)):
            if getattr(self, name) not in allowed:
                raise MethodError(f"{name}: {one_of(getattr(self, name), allowed)}")
        if self.epochs < 1:
            raise MethodError(f"epochs must be at least 1, got {self.epochs}")
        if not (math.isfinite(self.checkpoint_every_s) and self.checkpoint_every_s >= 0):
            raise MethodError(f"checkpoint_every_s must be a number of seconds of at least 0, got {self.checkpoint_every_s}")
        if self.logger == "tensorboard" and not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))):
            raise MethodError("logger='tensorboard' needs TensorBoard; install it with pip install tensorboard, or use csv")
