"""The neural weight space dataset: open it, read it, check it, write it.

The names below are the public surface; they are loaded when first used, so that ``import nws_data`` stays light.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nws_data.check.verify import verify
    from nws_data.errors import NWSError
    from nws_data.features.extract import feature_names, statistics_features
    from nws_data.format.describe import describe
    from nws_data.read.dataset import NWSDataset, open
    from nws_data.read.views import FixedWindows, GlobalVectors, LayerTensors, RandomWindows
    from nws_data.read.weights_feature import Weights
    from nws_data.space.architecture import Architecture
    from nws_data.space.hyperparameters import HyperParameters
    from nws_data.space.network import load_network
    from nws_data.space.permutation import permute, random_permutations
    from nws_data.tasks.predictions import Predictions
    from nws_data.tasks.task import load_task
    from nws_data.write.writer import write_population

__version__ = "0.1.0"

_MODULES = {
    "Architecture": "space.architecture",
    "FixedWindows": "read.views",
    "GlobalVectors": "read.views",
    "HyperParameters": "space.hyperparameters",
    "LayerTensors": "read.views",
    "NWSDataset": "read.dataset",
    "NWSError": "errors",
    "Predictions": "tasks.predictions",
    "RandomWindows": "read.views",
    "Weights": "read.weights_feature",
    "describe": "format.describe",
    "feature_names": "features.extract",
    "load_network": "space.network",
    "load_task": "tasks.task",
    "open": "read.dataset",
    "permute": "space.permutation",
    "random_permutations": "space.permutation",
    "statistics_features": "features.extract",
    "verify": "check.verify",
    "write_population": "write.writer",
}

__all__ = [
    "Architecture",
    "FixedWindows",
    "GlobalVectors",
    "HyperParameters",
    "LayerTensors",
    "NWSDataset",
    "NWSError",
    "Predictions",
    "RandomWindows",
    "Weights",
    "describe",
    "feature_names",
    "load_network",
    "load_task",
    "open",
    "permute",
    "random_permutations",
    "statistics_features",
    "verify",
    "write_population",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nws_data' has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(f"nws_data.{_MODULES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])


if "datasets" in sys.modules:  # its load_from_disk must know the feature of a dataset that was saved with it
    importlib.import_module("nws_data.read.weights_feature")
