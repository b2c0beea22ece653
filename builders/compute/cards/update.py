"""The three optimizers' shared update as one Triton kernel: a weight, its gradient and its moments pass through memory once.

As tensor operations, ``builders.recipe.optimizers.FleetOptimizer.update``, it takes ten kernels and three times the bytes.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from builders.recipe.optimizers import FleetOptimizer

_BLOCK = 1024  # weights of a program


@triton.jit
def update_kernel(
    vectors_ptr,  # (members, n) float32, as the next three; changed, as the next two
    m_ptr, v_ptr, gradients_ptr,
    columns_ptr,  # (6, members) float32: coefficients
    rates_ptr,  # (members,) float32
    n, BLOCK: tl.constexpr,
):  # fmt: skip
    """Update moments and weights; see ``builders.recipe.optimizers``."""
    member = tl.program_id(1).to(tl.int64)
    size = tl.num_programs(1)
    own = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = own < n
    at = member * n + own
    b1 = tl.load(columns_ptr + member)
    c1 = tl.load(columns_ptr + size + member)
    b2 = tl.load(columns_ptr + 2 * size + member)
    s2 = tl.load(columns_ptr + 3 * size + member)
    eps_inside = tl.load(columns_ptr + 4 * size + member)
    eps_outside = tl.load(columns_ptr + 5 * size + member)
    gradient = tl.load(gradients_ptr + at, mask=mask, other=0.0)
    scaled = gradient * s2
    m = tl.load(m_ptr + at, mask=mask, other=0.0) * b1 + gradient * c1
    v = tl.load(v_ptr + at, mask=mask, other=1.0) * b2 + scaled * scaled
    tl.store(m_ptr + at, m, mask=mask)
    tl.store(v_ptr + at, v, mask=mask)
    change = tl.div_rn(m * tl.load(rates_ptr + member), tl.sqrt_rn(v + eps_inside) + eps_outside)
    tl.store(vectors_ptr + at, tl.load(vectors_ptr + at, mask=mask, other=0.0) - change, mask=mask)


def update(optimizer: FleetOptimizer, vectors: Tensor, gradients: Tensor, rates: Tensor) -> None:
    """Do what :meth:`FleetOptimizer.update` does, in float32; the gradients stay. All are contiguous."""
    members, n = vectors.shape
    update_kernel[(-(-n // _BLOCK), members)](
        vectors, optimizer.m, optimizer.v, gradients, optimizer.columns, rates, n, BLOCK=_BLOCK, enable_fp_fusion=False
    )
