"""Python's side of kernels.c: tensors in, checked once by their maker; pointers out."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from builders.compute.native.library import load_library
from nws_data.errors import BuildError

_P, _I, _L, _U32, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_uint32, ctypes.c_uint64


def _signatures(real: type) -> dict[str, list[type]]:
    """Return the argument types of every function of kernels.c."""
    return {
        "conv_forward": [_P, _I, _L, _I, _I, _P, _P, real, real, _I, _I, _P, _P, _P, _P, _P],
        "scale_pool_activate": [_P, _I, _L, _I, _I, _P, _P, _I, _I, _P],
        "conv_backward": [_P, _P, _P, _I, _L, _I, _I, _P, _P, _I, _I, _P, _P, _P, _P, _P],
        "hidden_forward": [_P, _I, _I, _I, _P, _P, real, real, _I, _P, _L, _P, _P, _P, _P, _P],
        "hidden_backward": [_P, _P, _I, _I, _I, _P, _I, _P, _L, _P, _P, _P, _P, _P],
        "cross_entropy": [_P, _I, _I, _I, _P, _P],
        "update": [_L, _P, _P, _P, _P, real, real, real, real, real, real, real],
        "dropout_mask": [_U64, _U32, _U32, _L, _P, _P],
        "philox_words": [_U64, _U32, _U32, _L, _P],
        "add_noise": [_P, _I, _I, _I, _P, _P, _U64, _U32, _U32, _L, _P, _P, _P],
        "images_in": [_P, _I, _I, _I, _I, _P],
    }


def required_kernels(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the library for vectors of ``dtype``, float32 or in tests float64; raises ``BuildError`` without a compiler."""
    library = load_library(dtype == torch.float64)
    if library is None:
        raise BuildError("the native CPU path needs a C compiler (cc, gcc, clang or $CC); there is none that works")
    for name, types in _signatures(ctypes.c_double if dtype == torch.float64 else ctypes.c_float).items():
        function = getattr(library, name)
        function.argtypes = types
        function.restype = ctypes.c_double if name == "cross_entropy" else None
    return library


def images_in(library: ctypes.CDLL, images: Tensor, out: Tensor) -> None:
    """Write uint8 ``(B, 1 or 3, 32, 32)`` images into ``out`` ``(B, 32, 32, 3)``, floating, in [0, 1]."""
    images = images.contiguous()
    batch, planes, height, width = images.shape
    bf16 = int(out.dtype == torch.bfloat16)
    library.images_in(images.data_ptr(), batch, planes, height * width, bf16, out.data_ptr())
