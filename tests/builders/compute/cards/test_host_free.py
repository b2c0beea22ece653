"""What a CUDA graph demands of a step, checked without a card: on tensors that have no values nothing can be asked of them,
and no tensor of the host may take part."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.plan.shape import Shape
from builders.recipe.epochs import EpochSampler, split_images
from builders.recipe.initialization import initial_vector
from tests.builders.conftest import planned

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


def test_a_step_is_launches_of_triton_on_tensors_of_the_device(empty_bank):
    training = planned(0)
    fleet = DeviceFleet(Shape.of(training.hyperparameters), empty_bank, "triton", "bfloat16", slots=3)
    assert len(fleet.program.launches) == 42
    for launch in fleet.program.launches:
        assert launch.func.__module__ == "triton.runtime.jit"  # no operation of PyTorch
        assert {value.device for value in launch.args if isinstance(value, torch.Tensor)} == {META}


def test_evaluations_wait_for_nothing(empty_bank):
    training, parts = planned(0), {"a": ("train", torch.arange(9)), "b": ("test", torch.arange(5))}
    fleet = DeviceFleet(Shape.of(training.hyperparameters), empty_bank, "slots", "float32", slots=1)
    fleet.load(0, training, initial_vector(training.hyperparameters, 0), parts)
    with NoHost() as mode:
        counts, vector = fleet.evaluate(0)
    assert mode.n > 5
    assert counts.shape == (2,) and vector.shape == fleet.vectors[0].shape


def test_epochs_are_drawn_on_the_device(bank):
    labels = bank.labels("digits", "train")
    sampler = EpochSampler(split_images(100, 1), labels, 1, 32, META)
    assert sampler.batches(3).shape == (sampler.steps, 32)
    assert sampler.batches(3).device == META


def test_the_check_sees_a_tensor_of_the_host():
    with pytest.raises(AssertionError, match="reads a tensor of the host"), NoHost():
        torch.zeros(3, device=META) + torch.tensor(1.0)
