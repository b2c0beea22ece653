"""The neural weight space dataset: open it, read it, check it, write it.

The names below are the public surface; they are loaded when first used, so that ``import nws_data`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nws_data.architecture import Architecture
    from nws_data.dataset import NWSDataset, open
    from nws_data.errors import NWSError
    from nws_data.hyperparameters import HyperParameters
    from nws_data.info import describe
    from nws_data.network import load_network
    from nws_data.permutation import permute, random_permutations
    from nws_data.verify import verify
    from nws_data.views import FixedWindows, GlobalVectors, LayerTensors, RandomWindows
    from nws_data.weights_feature import Weights
    from nws_data.writer import write_population

_MODULES = {
    "Architecture": "architecture",
    "FixedWindows": "views",
    "GlobalVectors": "views",
    "HyperParameters": "hyperparameters",
    "LayerTensors": "views",
    "NWSDataset": "dataset",
    "NWSError": "errors",
    "RandomWindows": "views",
    "Weights": "weights_feature",
    "describe": "info",
    "load_network": "network",
    "open": "dataset",
    "permute": "permutation",
    "random_permutations": "permutation",
    "verify": "verify",
    "write_population": "writer",
}

__all__ = [
    "Architecture",
    "FixedWindows",
    "GlobalVectors",
    "HyperParameters",
    "LayerTensors",
    "NWSDataset",
    "NWSError",
    "RandomWindows",
    "Weights",
    "describe",
    "load_network",
    "open",
    "permute",
    "random_permutations",
    "verify",
    "write_population",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nws_data' has no attribute {name!r}")
    # The submodule verify has the name of its function: importing it binds the module, so the function goes over it.
    globals()[name] = getattr(importlib.import_module(f"nws_data.{_MODULES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
