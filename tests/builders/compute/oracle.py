"""A plain one-model PyTorch training, written from the paper and TensorFlow's definitions alone: the fleet's oracle."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nws_data.randomness import Purpose, words

ACTIVATIONS = {"relu": F.relu, "elu": F.elu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
BLOCKS = {3: (1, 1, 1), 4: (1, 1, 2), 5: (1, 2, 2)}


def dropout_mask(seed: int, step: int, batch_size: int, units: int) -> Tensor:
    """Which units dropout keeps, bool ``(batch_size, units)``: bits of random words, from the lowest, in order."""
    n = batch_size * units
    drawn = words(seed, Purpose.DROPOUT, step, -(-n // 32)).numpy().astype("<u4")
    kept = np.unpackbits(drawn.view(np.uint8), count=n, bitorder="little")
    return torch.from_numpy(kept).view(batch_size, units).bool()


class Oracle:
    """One network in NCHW with the activation before the pool, one optimizer, one step at a time."""

    def __init__(self, hp, vector: Tensor) -> None:
        self.hp = hp
        self.parameters: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        self.order: list[str] = []
        self._unpack(vector)
        self.state = {
            k: [torch.zeros_like(p), torch.full_like(p, 1.0 if hp.optimizer == "rmsprop" else 0.0)]
            for k, p in self.parameters.items()
        }
        self.t = 0

    def _unpack(self, vector: Tensor) -> None:
        hp, at = self.hp, 0
        widths = [hp.width_conv // 4, hp.width_conv // 2, hp.width_conv]

        def take(name, *shape):
            nonlocal at
            n = math.prod(shape)
            target = self.statistics if name.endswith(("mean", "variance")) else self.parameters
            target[name] = vector[at : at + n].reshape(shape).clone()
            self.order.append(name)
            at += n

        def norm(name, n):
            if hp.batch_norm:
                for kind in ("beta", "gamma", "mean", "variance"):
                    take(f"{name}.{kind}", n)

        n_in, i = 3, 0
        for n_out, count in zip(widths, BLOCKS[hp.depth_conv], strict=True):
            for _ in range(count):
                i += 1
                take(f"conv{i}.kernel", n_out, n_in, hp.filter_size, hp.filter_size)
                take(f"conv{i}.bias", n_out)
                norm(f"conv{i}", n_out)
                n_in = n_out
        n_in = hp.width_conv * 16
        for i in range(1, hp.depth_fc):
            n_out = hp.width_fc // 2 ** (i - 1)
            take(f"fc{i}.kernel", n_out, n_in)
            take(f"fc{i}.bias", n_out)
            norm(f"fc{i}", n_out)
            n_in = n_out
        take(f"fc{hp.depth_fc}.kernel", 20, n_in)
        take(f"fc{hp.depth_fc}.bias", 20)
        assert at == len(vector)

    def vector(self) -> Tensor:
        both = self.parameters | self.statistics
        return torch.cat([both[name].detach().flatten() for name in self.order])

    def _norm(self, x: Tensor, name: str, p, training: bool) -> Tensor:
        if not self.hp.batch_norm:
            return x
        dims = [0, 2, 3] if x.dim() == 4 else [0]
        shape = [1, -1] + [1] * (x.dim() - 2)
        if training:
            mean, variance = x.mean(dims), x.var(dims, correction=0)
            for kind, value in (("mean", mean), ("variance", variance)):
                key = f"{name}.{kind}"
                self.statistics[key] = 0.9 * self.statistics[key] + 0.1 * value.detach()
        else:
            mean, variance = self.statistics[f"{name}.mean"], self.statistics[f"{name}.variance"]
        x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
        return x * p[f"{name}.gamma"].view(shape) + p[f"{name}.beta"].view(shape)

    def forward(self, x: Tensor, p=None, keep: Tensor | None = None) -> Tensor:
        """Logits; ``keep`` (batch, hidden units) switches to training mode."""
        hp, p = self.hp, p or self.parameters
        act, i, unit = ACTIVATIONS[hp.activation], 0, 0
        for count in BLOCKS[hp.depth_conv]:
            for _ in range(count):
                i += 1
                x = F.conv2d(x, p[f"conv{i}.kernel"], p[f"conv{i}.bias"], padding=hp.filter_size // 2)
                x = act(self._norm(x, f"conv{i}", p, keep is not None))
            x = F.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
        for i in range(1, hp.depth_fc):
            x = act(x @ p[f"fc{i}.kernel"].T + p[f"fc{i}.bias"])
            x = self._norm(x, f"fc{i}", p, keep is not None)
            if keep is not None:
                n = x.shape[1]
                x = torch.where(keep[:, unit : unit + n], x / 0.5, torch.zeros_like(x))
                unit += n
        return x @ p[f"fc{hp.depth_fc}.kernel"].T + p[f"fc{hp.depth_fc}.bias"]

    def step(self, x: Tensor, labels: Tensor, keep: Tensor, epoch: int) -> float:
        p = {k: v.clone().requires_grad_() for k, v in self.parameters.items()}
        loss = F.cross_entropy(self.forward(x, p, keep), labels)
        loss.backward()
        self.t += 1
        lr = self.hp.learning_rate * 0.96**epoch
        for k, v in self.parameters.items():
            self.parameters[k] = self._updated(v, p[k].grad, self.state[k], lr)
        return loss.item()

    def _updated(self, p: Tensor, g: Tensor, state: list[Tensor], lr: float) -> Tensor:
        if self.hp.optimizer == "adam":
            state[0] = 0.9 * state[0] + (1 - 0.9) * g
            state[1] = 0.999 * state[1] + (1 - 0.999) * g * g
            lr_t = lr * math.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            return p - lr_t * state[0] / (torch.sqrt(state[1]) + 1e-8)
        if self.hp.optimizer == "rmsprop":
            state[1] = 0.9 * state[1] + (1 - 0.9) * g * g
            return p - lr * g / torch.sqrt(state[1] + 1e-10)
        state[0] = 0.95 * state[0] + g
        return p - lr * state[0]
