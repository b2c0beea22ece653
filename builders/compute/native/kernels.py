"""Python's side of kernels.c: tensors in, checked once by their maker; pointers out."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from builders.compute.native.library import LONGEST_ROW, MOST_UNITS, load_library
from nws_data.errors import BuildError
from nws_data.randomness import Purpose
from nws_data.space.architecture import IMAGE_SHAPE, Layer

_P, _I, _L, _U32, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_uint32, ctypes.c_uint64


def _signatures(real: type) -> dict[str, list[type]]:
    """Return the argument types of every function of kernels.c."""
    return {
        "conv_forward": [_P, _I, _L, _I, _I, _P, _P, real, real, _I, _I, _P, _P, _P, _P, _P],
        "conv_evaluate": [_P, _L, _I, _I, _P, _P, _I, _I, _P],
        "conv_backward": [_P, _P, _P, _I, _L, _I, _I, _P, _P, _I, _I, _P, _P, _P, _P, _P, _P],
        "hidden_forward": [_P, _I, _I, _I, _P, _P, real, real, _I, _P, _L, _P, _P, _P, _P, _P],
        "hidden_backward": [_P, _P, _I, _I, _I, _P, _I, _P, _L, _P, _P, _P, _P, _P],
        "cross_entropy": [_P, _I, _I, _I, _P, _P],
        "update": [_L, _P, _P, _P, _P, real, real, real, real, real, real, real],
        "dropout_mask": [_U64, _U32, _U32, _L, _P, _P],
        "philox_words": [_U64, _U32, _U32, _L, _P],
        "add_noise": [_P, _I, _I, _I, _P, _P, _U64, _U32, _U32, _L, _P, _P, _P],
        "images_in": [_P, _I, _I, _I, _I, _P],
    }


@dataclass(frozen=True)
class Norm:
    """Addresses of a layer's batch norm: parameters, gradients, running and batch statistics; 0 where there is no norm."""

    gamma: int
    beta: int
    dgamma: int
    dbeta: int
    running_mean: int
    running_variance: int
    mean: int
    rstd: int


def kernels(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the library for vectors of ``dtype`` (float32, or float64 in tests); None where it cannot be compiled."""
    library = load_library(dtype == torch.float64)
    if library is None:
        return None
    real = ctypes.c_double if dtype == torch.float64 else ctypes.c_float
    for name, types in _signatures(real).items():
        function = getattr(library, name)
        function.argtypes = types
        function.restype = ctypes.c_double if name == "cross_entropy" else None
    return library


def required_kernels(dtype: torch.dtype) -> ctypes.CDLL:
    """Return :func:`kernels`; raises ``BuildError`` when they cannot be compiled here."""
    library = kernels(dtype)
    if library is None:
        raise BuildError("the native CPU path needs a C compiler (cc, gcc, clang or $CC); there is none that works")
    return library


def check_sizes(layers: Iterable[Layer]) -> None:
    """Raise ``BuildError`` for layers that the kernels' buffers do not hold; all of Table 1 fit."""
    side = IMAGE_SHAPE[1]
    for layer in layers:
        longest = side * layer.n_out if layer.is_conv else 0
        if longest > LONGEST_ROW or layer.n_out > MOST_UNITS:
            raise BuildError(
                f"{layer.name} has {layer.n_out} outputs, more than the native kernels hold ({LONGEST_ROW} values "
                f"in an image row, {MOST_UNITS} units); use --backend plain"
            )
        side //= 2 if layer.pool_after else 1


def images_in(library: ctypes.CDLL, images: Tensor, out: Tensor) -> None:
    """Write uint8 ``(B, 1 or 3, 32, 32)`` images into ``out`` ``(B, 32, 32, 3)``, floating, in [0, 1]."""
    images = images.contiguous()
    batch, planes, height, width = images.shape
    bf16 = int(out.dtype == torch.bfloat16)
    library.images_in(images.data_ptr(), batch, planes, height * width, bf16, out.data_ptr())


def dropout_mask(library: ctypes.CDLL, seed: int, step: int, n: int, out: Tensor, words: Tensor) -> None:
    """Fill ``out`` uint8 ``(>= n,)`` with 1 where dropout keeps a unit; ``words`` int32 ``(>= n / 32 + 1,)`` is scratch."""
    library.dropout_mask(seed, int(Purpose.DROPOUT), step, n, words.data_ptr(), out.data_ptr())
