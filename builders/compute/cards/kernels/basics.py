"""What kernels share: fields of a slot, products, rounding, activations.

Products of bfloat16 accumulate in float32. ``PRECISION`` is Triton's ``input_precision`` for float32 operands: ``"ieee"``,
``"tf32"``, or ``"tf32x3"``, three products of tf32 that together are nearly as exact as one of float32.

Under ``TRITON_INTERPRET=1`` two faults of the interpreter (seen in 3.9) are worked around: its ``dot`` takes the bits of
bfloat16 for integers, and its casts to bfloat16 cut instead of rounding.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from builders.compute.cards.state import FIELDS
from builders.recipe.constants import ACTIVATION_CODES

N_FIELDS = tl.constexpr(len(FIELDS))
SEED, STEP, CURSOR, ACTIVE, CODE, AUGMENTS = (
    tl.constexpr(FIELDS.index(name)) for name in ("seed", "step", "cursor", "active", "code", "augments")
)
ELU, SIGMOID, TANH = (tl.constexpr(ACTIVATION_CODES[name]) for name in ("elu", "sigmoid", "tanh"))


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Round to a dtype, to nearest even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.int32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
        x = tl.where(x == x, rounded.to(tl.float32, bitcast=True), x)
    return x.to(dtype)


INTERPRETED = tl.constexpr(not isinstance(narrow, triton.JITFunction))
"""Whether kernels run in Triton's interpreter, on the CPU; decided when Triton is imported."""


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr):
    """Add the product of two tiles."""
    if INTERPRETED:
        a = a.to(acc.dtype)
        b = b.to(acc.dtype)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def activate(x, code):
    """Apply the activation of a code; near zero ELU and tanh by their series, where float32's formula would cancel."""
    EXACT: tl.constexpr = x.dtype == tl.float64
    y = tl.where(x < 0.0, 0.0, x)
    if code == ELU:
        series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * 0.041666668)))
        y = tl.where(x > 0.0, x, tl.where((x > -0.03) & (not EXACT), series, tl.exp(x) - 1.0))
    if code == SIGMOID:
        y = 1.0 / (1.0 + tl.exp(-x))
    if code == TANH:
        small = tl.exp(-2.0 * tl.abs(x))
        large = (1.0 - small) / (1.0 + small)
        series = x * (1.0 + x * x * (-0.33333334 + x * x * 0.13333334))
        y = tl.where((tl.abs(x) < 0.06) & (not EXACT), series, tl.where(x < 0.0, -large, large))
    return y


@triton.jit
def slope(y, code):
    """Return the activation's derivative from its value."""
    found = tl.where(y <= 0.0, 0.0, 1.0).to(y.dtype)
    if code == ELU:
        found = tl.where(y > 0.0, 1.0, y + 1.0)
    if code == SIGMOID:
        found = y * (1.0 - y)
    if code == TANH:
        found = 1.0 - y * y
    return found
