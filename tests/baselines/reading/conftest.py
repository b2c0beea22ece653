"""Classifiers on planted signals, and networks to read."""

from pathlib import Path

import numpy as np
import pytest
import torch

import nws_data
from baselines.reading.saved import Classifier, classifier_of
from baselines.registry import make_method
from nws_data.space.architecture import Architecture
from nws_data.space.network import state_dict_from_vector
from nws_data.tasks.task import load_task


def fitted(name: str, task_name: str, root: Path) -> Classifier:
    """Return a classifier of a registered method, fitted on a task."""
    task = load_task(task_name, root)
    method = make_method(name)
    method.fit(task)
    return classifier_of(method, name, {}, task)


@pytest.fixture(scope="session")
def planted_classifiers(planted_root: Path) -> list[Classifier]:
    """Of augmentation, which the scale of all weights tells, and of optimizer, which nothing tells."""
    return [fitted("logistic-16", f"local/{target}@500", planted_root) for target in ("augmentation", "optimizer")]


@pytest.fixture(scope="session")
def planted_network(planted_root: Path) -> tuple[dict[str, torch.Tensor], np.ndarray, nws_data.HyperParameters]:
    """State dict, weight vector and hyper-parameters of a test network."""
    data = nws_data.open(planted_root, "random").select(split="test", snapshot=19)
    found = data.hyperparameters(0)
    vector = data.vector(0)
    return state_dict_from_vector(vector, Architecture.of(found)), np.asarray(vector), found
