"""A checkpoint of a stranger as a weight vector: any sequence of convolutions and fully connected layers.

Nothing of the file is run. ``.safetensors`` holds plain tensors; of a ``.pt`` file torch's own loader takes tensors and
plain containers alone (``weights_only``). Sizes are checked before anything is unpacked or copied.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nws_data.errors import FormatError
from nws_data.format.untrusted import read_file
from nws_data.space.architecture import all_architectures
from nws_data.space.network import state_names

MAX_BYTES = 2**28
"""Of the file, of what is unpacked from it, and of its values in float32: 256 MB, 67 million values."""
MAX_TENSORS = 10_000
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_COUNTER = "num_batches_tracked"
_KINDS = ("weight", "bias", "running_mean", "running_var", _COUNTER)
_NORM_VALUES = ("bias", "weight", "running_mean", "running_var")  # beta, gamma, mean, variance: the order of our vectors


@dataclass
class _Layer:
    """The tensors under one name, and the norm that belongs to it."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    norm: _Layer | None = None

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight"]

    @property
    def is_norm(self) -> bool:
        return all(tensor.ndim <= 1 for tensor in self.tensors.values())

    @property
    def is_conv(self) -> bool:
        return self.weight.ndim == 4


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights in the order of our vectors."""

    vector: np.ndarray  # float32 (n,), finite
    n_conv: int  # values before the first fully connected kernel
    layers: tuple[str, ...]  # such as "conv1 8x3x5x5, norm"


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of a state dict as a weight vector.

    Args:
        path: ``.safetensors``, or a file of ``torch.save``: ``.pt``, ``.pth``, ``.ckpt``, ``.bin``.

    Raises:
        FormatError: another kind of file, too large, damaged, not of plain tensors, or not a sequence of layers.
        OSError: it cannot be read.
    """
    if path.suffix not in (".safetensors", *TORCH_SUFFIXES):
        raise FormatError(f"{path}: a checkpoint is a file .safetensors, {', '.join(TORCH_SUFFIXES)}; got {path.suffix!r}")
    content = read_file(path, MAX_BYTES)
    try:
        return vectorise(_tensors(content, path.suffix))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _tensors(content: bytes, suffix: str) -> dict[str, Tensor]:
    """Return the tensors of a file; of safetensors, which keep no order, by name, numbers in them by value."""
    try:
        if suffix == ".safetensors":
            from safetensors.torch import load

            found: Any = load(content)
            found = {name: found[name] for name in sorted(found, key=_by_number)}
        else:
            _check_zip(content)
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except FormatError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes the two loaders raise
        text = str(error).split("\n")[0][:200]
        raise FormatError(f"cannot be read as plain tensors: {type(error).__name__}: {text}; save a state_dict") from error
    return _checked(found)


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part[:15]), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _check_zip(content: bytes) -> None:
    """Raise ``FormatError`` unless it is a zip file, as torch writes since 1.6, that unpacks to no more than allowed."""
    if not content.startswith(b"PK"):
        raise FormatError("not a zip file as torch.save writes since 1.6; load it where you trust it and save it again")
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        if sum(entry.file_size for entry in file.infolist()) > MAX_BYTES:
            raise FormatError(f"unpacks to over {MAX_BYTES:,} bytes, the most that is read")


def _checked(found: Any) -> dict[str, Tensor]:
    """Return a state dict, taken out of a checkpoint of a trainer; raises ``FormatError`` for what is not one."""
    if isinstance(found, dict):
        found = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
        raise FormatError("not a state_dict: names and tensors; save model.state_dict()")
    if len(found) > MAX_TENSORS:
        raise FormatError(f"{len(found):,} tensors, at most {MAX_TENSORS:,} are read")
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise FormatError(f"{name[:100]!r} is no plain tensor; save model.state_dict()")
        if not tensor.is_floating_point() and not name.endswith(_COUNTER):
            raise FormatError(f"{name[:100]!r} is of type {tensor.dtype}; weights are floating point numbers")
    if sum(tensor.numel() for tensor in found.values()) * 4 > MAX_BYTES:  # strides of 0 make much of little
        raise FormatError(f"over {MAX_BYTES // 4:,} values, the most that are read")
    return dict(found)


def vectorise(state: Mapping[str, Tensor]) -> Checkpoint:
    """Return a state dict as a weight vector: layer by layer kernel, bias, then beta, gamma, mean and variance of its norm.

    Convolutions come before fully connected layers, else in the order of the state dict. A norm belongs to the layer right
    before it, or else to the first of its width without one. Of the first fully connected kernel after convolutions the
    inputs are put from PyTorch's order (channel, height, width) into ours (height, width, channel), unless names and shapes
    are those of our own networks, which have it.

    Raises:
        FormatError: another kind of tensor, layers that do not follow one another, or values that are not finite.
    """
    layers = _layers(state)
    _check_chain(layers)
    parts, n_conv, before = [], 0, None
    every = (architecture for norm in (True, False) for architecture in all_architectures(norm))
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_COUNTER)}
    ours = any(shapes == {name: tensor.shape for name, tensor in state_names(architecture)} for architecture in every)
    for layer in layers:
        weight = layer.weight
        if not layer.is_conv and before is not None and before.is_conv and not ours:
            weight = weight.reshape(len(weight), len(before.weight), -1).swapaxes(1, 2)
        values = [weight, layer.tensors.get("bias")]
        values += [layer.norm.tensors.get(kind) for kind in _NORM_VALUES] if layer.norm else []
        parts += [value.detach().reshape(-1).to(torch.float32) for value in values if value is not None]
        if layer.is_conv:
            n_conv = sum(map(len, parts))
        before = layer
    vector = torch.cat(parts).numpy()
    if not np.isfinite(vector).all():
        raise FormatError("holds values that are not finite in float32: such a network says nothing about its training")
    texts = (f"{y.name} {'x'.join(map(str, y.weight.shape))}{', norm' if y.norm else ''}" for y in layers)
    return Checkpoint(vector, n_conv, tuple(texts))


def _layers(state: Mapping[str, Tensor]) -> list[_Layer]:
    """Return the layers in order, each with its norm."""
    found: dict[str, _Layer] = {}
    for name, tensor in state.items():
        prefix, _, kind = name.rpartition(".")
        if kind not in _KINDS:
            raise FormatError(f"{name[:100]!r}: names end in {', '.join(_KINDS)}; only conv, linear, norm are read")
        found.setdefault(prefix, _Layer(prefix[:100])).tensors[kind] = tensor
    every = list(found.values())
    layers = [layer for layer in every if not layer.is_norm]
    for layer in layers:
        kinds, shapes = set(layer.tensors), {kind: tuple(tensor.shape) for kind, tensor in layer.tensors.items()}
        if not {"weight"} <= kinds <= {"weight", "bias"} or len(shapes["weight"]) not in (2, 4) or 0 in shapes["weight"]:
            raise FormatError(f"{layer.name!r} is no convolution of images and no linear layer: {shapes}")
        if "bias" in kinds and shapes["bias"] != shapes["weight"][:1]:
            raise FormatError(f"{layer.name!r}: its bias has shape {shapes['bias']}, its kernel {shapes['weight']}")
    if not layers:
        raise FormatError("holds no convolution and no linear layer")
    left = []
    for before, norm in zip([None, *every], every, strict=False):
        if norm.is_norm and not (before and not before.is_norm and _joined(before, norm)):
            left.append(norm)
    for norm in left:
        if not any(_joined(layer, norm) for layer in layers):
            raise FormatError(f"{norm.name!r} fits no layer before it; only norms of channels or units are read")
    return [layer for layer in layers if layer.is_conv] + [layer for layer in layers if not layer.is_conv]


def _joined(layer: _Layer, norm: _Layer) -> bool:
    """Give a layer its norm, where it has none and the widths agree; whether that was so."""
    values = [tensor for kind, tensor in norm.tensors.items() if kind != _COUNTER]
    if layer.norm is not None or not values or any(tuple(value.shape) != (len(layer.weight),) for value in values):
        return False
    layer.norm = norm
    return True


def _check_chain(layers: list[_Layer]) -> None:
    """Raise ``FormatError`` unless each layer takes what the one before gives."""
    for before, layer in itertools.pairwise(layers):
        gives, takes = len(before.weight), layer.weight.shape[1]
        if takes != gives and (layer.is_conv or not before.is_conv or takes % gives):
            raise FormatError(
                f"{layer.name!r} takes {takes} inputs, {before.name!r} before it gives {gives}: not a sequence of layers, "
                "or names that do not sort in its order (then save it by torch.save, which keeps the order)"
            )
