"""The three optimizers with TensorFlow 1's semantics, as one elementwise update over a whole fleet.

All three are instances of

    m = b1 m + c1 g,    v = b2 v + (s2 g)^2,    p -= rate m / (sqrt(v + eps_inside) + eps_outside)

and differ in their coefficients alone, so a fleet mixes them row by row. torch.optim differs: its Adam adds eps after
the bias correction, its RMSprop starts from zero and adds eps outside the root.

Source: Eilertsen et al. 2020, Supplement A.1; the authors' scripts for momentum and the RMSProp start value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEARNING_RATE_DECAY = 0.96
"""Factor on the learning rate after each epoch."""


@dataclass(frozen=True)
class Coefficients:
    """One optimizer as coefficients of the shared update."""

    b1: float
    c1: float
    b2: float
    s2: float  # square root of the weight of g^2: scaling before squaring keeps 0 * g^2 finite for huge g
    eps_inside: float
    eps_outside: float
    v_start: float
    bias_corrected: bool


OPTIMIZERS = {
    "adam": Coefficients(0.9, 0.1, 0.999, math.sqrt(0.001), 0.0, 1e-8, 0.0, True),
    "rmsprop": Coefficients(0.0, 1.0, 0.9, math.sqrt(0.1), 1e-10, 0.0, 1.0, False),
    # With b2 = 1 and v_start = 1 the denominator stays exactly 1.
    "momentum": Coefficients(0.95, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, False),
}


def rate(optimizer: str, learning_rate: float, epoch: int, step: int) -> float:
    """Return the factor of m / denominator for a training's update, after so many epochs and steps: 0 and 0 at first."""
    value = learning_rate * LEARNING_RATE_DECAY**epoch
    c = OPTIMIZERS[optimizer]
    if c.bias_corrected:
        value *= math.sqrt(1 - c.b2 ** (step + 1)) / (1 - c.b1 ** (step + 1))
    return value


def epoch_rates(optimizer: str, learning_rate: float, epoch: int, first_step: int, n_steps: int) -> Tensor:
    """Return :func:`rate` of every step of an epoch that begins with step ``first_step``, float64 ``(n_steps,)``."""
    steps = range(first_step, first_step + n_steps)
    return torch.tensor([rate(optimizer, learning_rate, epoch, step) for step in steps], dtype=torch.float64)


class FleetOptimizer:
    """First and second moments of every slot of a fleet, ``(size, n_weights)`` on a device, and the fused update."""

    def __init__(self, size: int, n_weights: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self.m = torch.zeros(size, n_weights, dtype=dtype, device=device)
        self.v = torch.zeros(size, n_weights, dtype=dtype, device=device)
        self.columns = torch.zeros(6, size, 1, dtype=dtype, device=device)

    def load(self, slot: int, optimizer: str) -> None:
        """Start a slot afresh: overwrites whatever was there, non-finite values included."""
        c = OPTIMIZERS[optimizer]
        self.m[slot] = 0.0
        self.v[slot] = c.v_start
        values = [c.b1, c.c1, c.b2, c.s2, c.eps_inside, c.eps_outside]
        self.columns[:, slot, 0] = torch.tensor(values, dtype=self.columns.dtype)

    def update(self, vectors: Tensor, gradients: Tensor, rates: Tensor) -> None:
        """Update ``vectors`` ``(size, n_weights)`` in place. Gradients, zero where a value is no parameter, are overwritten;
        rates are ``(size, 1)`` from :func:`rate`."""
        b1, c1, b2, s2, eps_inside, eps_outside = self.columns
        self.m.mul_(b1).addcmul_(gradients, c1)
        gradients.mul_(s2)
        self.v.mul_(b2).addcmul_(gradients, gradients)
        vectors.addcdiv_(self.m * rates, (self.v + eps_inside).sqrt_().add_(eps_outside), value=-1)
