"""An equivariant baseline: the neural functional network of Zhou et al. 2023 on whole vectors, by their package ``nfn``.

Its predictions do not depend on the order of hidden channels and units. Batch norm's values are channels of the biases.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, cast

from baselines.method import Method, MethodError, item_length, only_architecture
from nws_data.arguments import whole_number

if TYPE_CHECKING:  # not at run time: the list of methods reads the options below without torch
    import numpy as np
    from torch import Tensor, nn

    from nws_data.read.views import WeightView
    from nws_data.tasks.task import Task

_SCALE = 20.0  # as of the DMC on asinh(20 w)
_N_MEASURED = 512  # items from which mean and deviation of each tensor are taken
_PREDICTED = 64  # items of a batch in evaluation


class NFN(Method):
    """Equivariant layers on asinh(20 w) of the standardised weights, mean over hidden units, and a classifier.

    Args:
        seed: of initial weights and order.
        channels: of the equivariant layer.
        hidden: units of the classifier.
        epochs: passes over the training items.
        batch_size: items of a step.
        learning_rate: of AdamW, along half a cosine to 0.

    Raises:
        MethodError: the package is not there.
        ArgumentError: an option out of range.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        channels: int = 8,
        hidden: int = 64,
        epochs: int = 40,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__(seed)
        if importlib.util.find_spec("nfn") is None:
            raise MethodError("the method nfn needs the package of that name; install it with pip install -e '.[nfn]'")
        self._channels, self._hidden = whole_number("channels", channels, 1), whole_number("hidden", hidden, 1)
        self._epochs, self._batch_size = whole_number("epochs", epochs, 1), whole_number("batch_size", batch_size, 2)
        self._learning_rate = learning_rate
        self._network: nn.Module | None = None

    def fit(self, task: Task) -> None:
        """Train on ``task.train``. Raises ``MethodError`` for vectors of several architectures."""
        import torch
        import torch.nn.functional as F

        from nws_data.progress import progress_bar
        from nws_data.randomness import Purpose, permutation

        view, steps, self.length = task.train, -(-len(task.train) // self._batch_size), item_length(task.train)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            network = self._network = _network(view, self._channels, self._hidden, task.n_classes)
        self.n_parameters = sum(parameter.numel() for parameter in network.parameters())
        optimizer = torch.optim.AdamW(network.parameters(), self._learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._epochs * steps)
        with progress_bar(total=self._epochs, unit=" epochs") as bar:
            for epoch in range(self._epochs):
                order = permutation(self.seed, Purpose.VIEW_ORDER, epoch, len(view))
                for items in order.split(self._batch_size):
                    weights, labels = view[items]
                    optimizer.zero_grad()
                    F.cross_entropy(network(weights), labels).backward()
                    optimizer.step()
                    schedule.step()
                bar.update()

    def predict(self, view: WeightView) -> np.ndarray:
        """Return class probabilities, float32 ``(len(view), n_classes)``."""
        import torch

        self.check_view(view)
        network = cast("nn.Module", self._network)
        with torch.inference_mode():
            parts = [network(view[i : i + _PREDICTED][0]).softmax(1) for i in range(0, len(view), _PREDICTED)]
        return torch.cat(parts).numpy()


def _network(view: WeightView, channels: int, hidden: int, n_classes: int) -> nn.Module:
    """Return a network from weight vectors ``(B, n_weights)`` to logits ``(B, n_classes)``, scaled to the view's tensors."""
    import torch
    from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
    from nfn.layers import HNPLinear, HNPPool, TupleOp
    from torch import nn

    from nws_data.space.nfn_tensors import to_nfn

    architecture = only_architecture(view)
    measured = torch.arange(0, len(view), max(1, len(view) // _N_MEASURED))

    def tensors(vectors: Tensor) -> Any:
        return to_nfn((_SCALE * vectors).asinh(), architecture)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = tensors(view[measured][0])
            self.scales = [[_moments(tensor) for tensor in kind] for kind in parts]
            # Each weight and each unit becomes a vector of channels, which a filter's or kernel's positions share.
            self.kernels = nn.ModuleList(nn.Linear(1, channels) for _ in parts[0])
            self.units = nn.ModuleList(nn.Conv1d(bias.shape[1], channels, 1) for bias in parts[1])
            spec = network_spec_from_wsfeat(WeightSpaceFeatures(*(tuple(kind) for kind in parts)))
            self.equivariant = nn.Sequential(TupleOp(nn.ReLU()), HNPLinear(spec, channels, channels), TupleOp(nn.ReLU()))
            n_pooled = channels * HNPPool.get_num_outs(spec)
            self.pool = HNPPool(spec)
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(n_pooled, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))

        def forward(self, vectors: Tensor) -> Tensor:
            kernels, biases = (
                [(tensor - mean) / std for tensor, (mean, std) in zip(kind, scales, strict=True)]
                for kind, scales in zip(tensors(vectors), self.scales, strict=True)
            )
            features = WeightSpaceFeatures(
                tuple(
                    layer(x.unsqueeze(-1)).squeeze(1).movedim(-1, 1) for layer, x in zip(self.kernels, kernels, strict=True)
                ),
                tuple(layer(x) for layer, x in zip(self.units, biases, strict=True)),
            )
            logits: Tensor = self.head(self.pool(self.equivariant(features)))
            return logits

    return Network()


def _moments(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of a tensor ``(B, C, ...)``, by channel and shaped to broadcast."""
    axes = [axis for axis in range(tensor.ndim) if axis != 1]
    return tensor.mean(axes, keepdim=True), tensor.std(axes, keepdim=True) + 1e-6
