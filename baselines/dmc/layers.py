"""Which layers a deep meta-classifier (DMC) has for an input of some length: pure data.

Source: Eilertsen et al. 2020, Supplement F, Table 3; pools at other lengths as in Supplement F.2 and the authors' scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from baselines.method import MethodError

KERNEL = 5
"""Values that a convolution sees; with ``KERNEL // 2`` zeros at both ends the length stays."""

HIDDEN = (1024, 1024, 1024, 1024, 64)
"""Units of the hidden fully connected layers."""

GLOBAL_ABOVE = 40_000
"""Longer inputs take the global net."""

_GLOBAL_CHANNELS = (8, 16, 32, 64, *(128,) * 6, *(256,) * 5)
_GLOBAL_POOLS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15})
_LOCAL_CHANNELS = (8, 16, 32, 64, 128, *(256,) * 7)
_LOCAL_POOLS = frozenset({1, 2, 4, 12})
_MOVING_POOLS = range(6, 12)  # layers that a pool follows (it stands before the next one) while the input is long
_SHORT = 50


@dataclass(frozen=True)
class Convolution:
    """One convolution with what follows it: ReLU, batch norm and, where ``pool``, a max-pool of 2."""

    n_in: int
    n_out: int
    pool: bool


@dataclass(frozen=True)
class DMCLayers:
    """The layers of a DMC."""

    length: int  # values of an input
    n_outputs: int  # classes, or 1 for a regression
    convolutions: tuple[Convolution, ...]  # in order
    flattened: int  # values that enter the first fully connected layer

    @classmethod
    def of(cls, length: int, n_outputs: int) -> DMCLayers:
        """Return the layers for inputs of ``length``; raises ``MethodError`` where nothing is left behind the pools."""
        is_global = length > GLOBAL_ABOVE
        channels, pools = (_GLOBAL_CHANNELS, _GLOBAL_POOLS) if is_global else (_LOCAL_CHANNELS, _LOCAL_POOLS)
        convolutions, left = [], length
        for number, (n_in, n_out) in enumerate(pairwise((1, *channels)), start=1):
            pool = number in pools or (not is_global and number in _MOVING_POOLS and left > _SHORT)
            left = left // 2 if pool else left
            convolutions.append(Convolution(n_in, n_out, pool))
        if left < 1:
            raise MethodError(f"the DMC needs windows of at least {2 ** len(_LOCAL_POOLS)} values, got {length}")
        return cls(length, n_outputs, tuple(convolutions), left * channels[-1])

    @property
    def widths(self) -> tuple[int, ...]:
        """Sizes of the fully connected layers: flattened input, hidden layers, outputs."""
        return (self.flattened, *HIDDEN, self.n_outputs)
