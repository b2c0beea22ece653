"""The convolution block of a device fleet, and its implementations to choose from by name.

A block is one conv layer of every member: "same" convolution and bias, batch norm with the batch's statistics, 2x2
max-pool, activation. The activation comes last, which is exact since all four are monotone, and is data of the slot.

What every implementation must hold:

* differentiable by ``torch.autograd`` in ``x``, ``kernel``, ``bias``, ``beta`` and ``gamma``. The bias before a batch norm
  has no true gradient; it gets the sum over its output's gradient, rounding noise and all: a real footprint;
* deterministic: no atomics, every sum in an order that depends on the shapes alone. A member's bits depend neither on its
  companions nor on its slot; a non-finite member harms nobody;
* statistics and leaf gradients in float32 (float64 for float64), whatever the dtype of ``x``;
* float32 products follow ``torch.get_float32_matmul_precision()``: ``"highest"`` means full float32, else tf32 (the fleet
  sets it around each step);
* fit for a CUDA graph: no synchronisation, no value of a device tensor read by the host;
* runs on the CPU as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class ConvBlock(Protocol):
    """One conv layer of all members."""

    def __call__(
        self,
        x: Tensor,
        kernel: Tensor,
        bias: Tensor,
        beta: Tensor | None,
        gamma: Tensor | None,
        codes: Tensor,
        *,
        pool: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Apply the layer.

        Args:
            x: ``(members, batch, H, W, C_in)`` in the compute dtype (float32, bfloat16, float64 in tests). Any strides:
                a block makes it contiguous if it needs that, and may return its own favourite strides.
            kernel: ``(members, C_out, C_in, f, f)``, f odd; float32 leaf (float64 in tests), to be cast to x's dtype.
            bias: ``(members, C_out)``, float32 leaf.
            beta: ``(members, C_out)``, float32 leaf; None without batch norm (the ablation).
            gamma: likewise.
            codes: int32 ``(members,)`` on the device: each member's activation, see ``builders.recipe.constants``.
            pool: whether a 2x2 max-pool follows the norm. H and W are even then.

        Returns:
            y: ``(members, batch, H', W', C_out)`` in x's dtype.
            mean: of the batch, ``(members, C_out)`` float32, detached; None without batch norm.
            variance: biased, likewise.
        """
        ...
