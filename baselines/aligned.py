"""A linear classifier on whole vectors whose hidden channels and units are first put into one order for all networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from baselines.method import choice, only_architecture, positive
from baselines.tabular import TabularMethod

if TYPE_CHECKING:
    from torch import Tensor

    from nws_data.read.views import WeightView
    from nws_data.space.architecture import Architecture
    from nws_data.space.permutation import PermutedAxis
    from nws_data.tasks.task import Task

ORDERS = ("matched", "sorted", "none")
_SCALE = 20.0  # as of the DMC on asinh(20 w)
_TOGETHER = 64  # vectors that are sorted at once
_MOST_SWEEPS = 4


class AlignedLinear(TabularMethod):
    """Linear support vector machine, one class versus the rest, on asinh(20 w) of aligned vectors of one architecture.

    Sorting puts the units of each hidden layer in the order of the norms of their incoming weights. Matching goes on from
    there: layer by layer, until nothing changes, units go where their weights agree most with the mean of the training
    vectors. Both give the same vector for all orders of a network, but for units of equal norm. Nothing is drawn.

    Args:
        seed: of nothing.
        order: ``"matched"``, ``"sorted"``, or ``"none"``: vectors as they are.
        penalty: C, the weight of training errors against the margin.

    Raises:
        MethodError: an option out of range; on fitting, vectors of several architectures.

    Source: Ainsworth et al. 2023, "Git Re-Basin", Section 3.2 (weight matching).
    """

    _undrawn = np.inf

    def __init__(
        self, seed: int = 0, *, order: Literal["matched", "sorted", "none"] = "matched", penalty: float = 1e-4
    ) -> None:
        super().__init__(seed)
        self.order, self.penalty = choice("order", order, ORDERS), positive("penalty", penalty)
        self._mean: Tensor | None = None

    def _prepare(self, task: Task, view: WeightView) -> None:
        if self.order == "matched":
            architecture = only_architecture(view)
            vectors = _vectors(view, architecture, "sorted")
            self._mean = match(vectors, vectors.mean(0), architecture).mean(0)

    def _table(self, view: WeightView) -> np.ndarray:
        """Return float32 ``(len(view), n_weights)``."""
        architecture = only_architecture(view)
        vectors = _vectors(view, architecture, self.order)
        return (vectors if self._mean is None else match(vectors, self._mean, architecture)).numpy()

    def _estimator(self, regression: bool) -> Any:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler, StandardScaler
        from sklearn.svm import LinearSVC

        # The machine's coefficients are a combination of items, so axes through all items lose nothing, and are few.
        machine = LinearSVC(C=self.penalty, dual=False, max_iter=5000)
        return make_pipeline(MinMaxScaler(clip=True), StandardScaler(), PCA(svd_solver="full"), machine)

    def _count(self, fitted: Any) -> int | None:
        return int(fitted[-1].coef_.shape[0] * fitted[0].n_features_in_ + fitted[-1].intercept_.size)


def _vectors(view: WeightView, architecture: Architecture, order: str) -> Tensor:
    """Return asinh(20 w), float32 ``(len(view), n_weights)``, units as they are or sorted."""
    import torch

    parts = ((_SCALE * view[i : i + _TOGETHER][0]).asinh() for i in range(0, len(view), _TOGETHER))
    return torch.cat([part if order == "none" else sort_units(part, architecture) for part in parts])


def sort_units(vectors: Tensor, architecture: Architecture) -> Tensor:
    """Return vectors ``(B, n_weights)`` with the units of each hidden layer by the norm of their incoming weights."""
    from nws_data.space.permutation import permutation_spec, permute_each

    orders = {}
    for group in permutation_spec(architecture):
        kernel = group.axes[0]
        norms = vectors[:, kernel.tensor.slice].unflatten(1, (group.size, -1)).double().norm(dim=2)
        orders[group.name] = norms.argsort(dim=1, stable=True)
    return permute_each(vectors, architecture, orders)


def match(vectors: Tensor, target: Tensor, architecture: Architecture) -> Tensor:
    """Return vectors ``(B, n_weights)`` with hidden units where their weights agree most with a target ``(n_weights,)``.

    Coordinate ascent of the inner product with the target, one layer after the other; each step is an exact assignment.
    """
    import torch

    return torch.stack([_matched(vector, target, architecture) for vector in vectors])


def _matched(vector: Tensor, target: Tensor, architecture: Architecture) -> Tensor:
    import torch
    from scipy.optimize import linear_sum_assignment

    from nws_data.space.permutation import permutation_spec, permute

    for _ in range(_MOST_SWEEPS):
        moved = False
        for group in permutation_spec(architecture):
            agreement = torch.zeros(group.size, group.size)
            for axis in group.axes:
                agreement += _units(target, axis) @ _units(vector, axis).T
            order = torch.from_numpy(linear_sum_assignment(agreement.numpy(), maximize=True)[1])
            if not torch.equal(order, torch.arange(group.size)):
                vector, moved = permute(vector, architecture, {group.name: order}), True
        if not moved:
            break
    return vector


def _units(vector: Tensor, axis: PermutedAxis) -> Tensor:
    """Return one of a group's tensors as ``(units, values)``."""
    moved = vector[axis.tensor.slice].view(axis.shape).movedim(axis.axis, 0)
    return moved.reshape(len(moved), -1)
