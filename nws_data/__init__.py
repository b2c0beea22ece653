"""The neural weight space dataset: trained networks as data, views to learn from their weights, tasks that score it.

Open a dataset, choose snapshots, train on a view of their weights::

    data = nws_data.open("nws", "fixed", split="train")  # one row a snapshot, columns as numpy arrays
    late = data.select(last=4, finite=True)
    view = nws_data.GlobalVectors(late, target="optimizer")  # a torch Dataset of (weights, label)

Or take an official task, which brings its views and its evaluator::

    task = nws_data.load_task("global/optimizer", "nws")
    score = task.evaluate(my_predictions)  # for the items of task.test, after training on task.train

Datasets: ``open``, ``NWSDataset``, ``pull`` from the hub and ``push`` to it, ``describe``, ``verify``; ``Weights`` for the
library ``datasets``. Views: ``GlobalVectors``, ``PermutedVectors``, ``RandomWindows``, ``FixedWindows``,
``StrippedWindows``, ``LayerTensors``, all a ``WeightView``; ``EpochSampler``. Tasks: ``load_task``, ``Task``,
``Predictions``, ``ClassificationScore``, ``RegressionScore``; ``TaskDataModule`` for Lightning. Features:
``statistics_features``, ``feature_names``. Networks: ``load_network``, ``Architecture``, ``HyperParameters``, ``permute``,
``random_permutations``, ``augment_permutations``, ``to_nfn``, ``from_nfn``. Errors: all are an ``NWSError``.

Names are loaded when they are first used, so that ``import nws_data`` stays light. ``__init__.pyi`` lists them.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_STUB = Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8")
_MODULES = {name: module for module, name in re.findall(r"^from (\S+) import (\w+) as", _STUB, re.MULTILINE)}
"""The module of each public name."""

__all__ = sorted(_MODULES)  # noqa: PLE0605  # type checkers read the stub


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nws_data' has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return __all__


if "datasets" in sys.modules:  # its load_from_disk must know the feature of a dataset that was saved with it
    importlib.import_module("nws_data.read.weights_feature")
