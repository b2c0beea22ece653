"""What a CUDA graph demands of a step, checked without a card: on tensors that have no values nothing can be asked of them,
and no tensor of the host may take part."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.evaluation import ScoredImages, correct_counts
from builders.compute.cards.fleet import DeviceFleet
from builders.plan.device_shape import DeviceShape
from builders.recipe.epochs import EpochSampler, split_images
from tests.builders.conftest import hyperparameters

META = torch.device("meta")


class NoHost(TorchDispatchMode):
    """Fails on every operation that reads a tensor of the host; counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.device == META for tensor in tensors), f"{func} reads a tensor of the host"
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def empty_bank(bank) -> DeviceBank:
    return DeviceBank(bank, META)


@pytest.mark.parametrize("changes", [{}, {"batch_norm": False}, {"depth_conv": 5, "depth_fc": 5, "filter_size": 5}])
def test_a_step_needs_no_value_and_no_tensor_of_the_host(empty_bank, changes):
    fleet = DeviceFleet(DeviceShape.of(hyperparameters(**changes)), empty_bank, "grouped", "bfloat16", slots=3)
    fleet.run(1)  # tables that are made once
    for augmenting in (True, False):
        with NoHost() as mode:
            fleet.run(1, augmenting)
        assert mode.n > 100


def test_evaluations_wait_for_nothing(empty_bank, bank):
    hp = hyperparameters()
    scored = ScoredImages.of(empty_bank, hp.dataset, split_images(100, 1))
    vector = torch.zeros(DeviceFleet(DeviceShape.of(hp), empty_bank, "grouped", slots=1).vectors.shape[1], device=META)
    assert correct_counts(vector, hp, empty_bank, scored).shape == (3,)


def test_epochs_are_drawn_on_the_device(bank):
    labels = bank.labels("digits", "train")
    sampler = EpochSampler(split_images(100, 1), labels, 1, 32, META)
    assert sampler.batches(3).shape == (sampler.steps, 32)
    assert sampler.batches(3).device == META


def test_the_check_sees_a_tensor_of_the_host():
    with pytest.raises(AssertionError, match="reads a tensor of the host"), NoHost():
        torch.zeros(3, device=META) + torch.tensor(1.0)
