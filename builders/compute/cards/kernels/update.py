"""The end of a step as Triton kernels: the three optimizers' shared update with the running statistics, and the counters.

A weight, its gradient and its moments pass through memory once. As tensor operations, ``FleetOptimizer.update`` of
``builders.recipe.optimizers``, it takes ten kernels and three times the bytes.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.kernels.basics import ACTIVE, CURSOR, N_FIELDS, STEP


@triton.jit(do_not_specialize=["longest", "n"])
def update_kernel(
    slots_ptr,
    vectors_ptr, m_ptr, v_ptr,  # (members, n); changed
    values_ptr,  # (members, n): gradients, and the batch's statistics
    statistics_ptr,  # (n,) int8: 1 where a vector holds a running statistic
    columns_ptr,  # (6, members): coefficients
    rates_ptr,  # (members, longest)
    longest, n, MOMENTUM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Update moments, weights and running statistics; see ``builders.recipe.optimizers``."""
    member = tl.program_id(1).to(tl.int64)
    slot = slots_ptr + member * N_FIELDS
    if tl.load(slot + ACTIVE) == 0:
        return
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
    rate = tl.load(rates_ptr + member * longest + tl.load(slot + CURSOR))
    value = tl.load(values_ptr + at, mask=mask, other=0.0)
    weight = tl.load(vectors_ptr + at, mask=mask, other=0.0)
    running = tl.load(statistics_ptr + own, mask=mask, other=0) != 0
    gradient = tl.where(running, 0.0, value)
    scaled = gradient * s2
    m = tl.load(m_ptr + at, mask=mask, other=0.0) * b1 + gradient * c1
    v = tl.load(v_ptr + at, mask=mask, other=1.0) * b2 + scaled * scaled
    tl.store(m_ptr + at, m, mask=mask)
    tl.store(v_ptr + at, v, mask=mask)
    if m.dtype == tl.float32:
        change = tl.div_rn(m * rate, tl.sqrt_rn(v + eps_inside) + eps_outside)
    else:
        change = m * rate / (tl.sqrt(v + eps_inside) + eps_outside)
    weight = tl.where(running, weight + MOMENTUM * (value - weight), weight - change)
    tl.store(vectors_ptr + at, weight, mask=mask)


@triton.jit(do_not_specialize=["n"])
def advance_kernel(slots_ptr, n, BLOCK: tl.constexpr):
    """Move every slot on to its next step."""
    member = tl.arange(0, BLOCK)
    slot = slots_ptr + member * N_FIELDS
    active = tl.load(slot + ACTIVE, mask=member < n, other=0)
    for FIELD in tl.static_range(2):
        at = slot + (CURSOR if FIELD else STEP)
        tl.store(at, tl.load(at, mask=member < n, other=0) + active, mask=member < n)
