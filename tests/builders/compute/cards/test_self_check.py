"""A card that computes what the plain backend does passes; a kernel made wrong ends in a message."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from builders.compute.cards.fleet import DeviceFleet
from builders.compute.cards.kernels import convolution
from builders.compute.cards.self_check import check_fleet
from builders.plan.shape import Shape
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture

SMALLEST = Architecture(3, 3, 3, 16, 64)

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning:triton")  # NumPy's, in the interpreter


class WrongKernel:
    """A kernel that is launched with a wrong constant."""

    def __init__(self, kernel, **wrong):
        self.kernel, self.wrong = kernel, wrong

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self.kernel[grid](*args, **{**kwargs, **self.wrong})


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_right_step_passes_and_leaves_the_slots_free(cpu_bank, precision):
    shape = Shape(SMALLEST, 32)
    fleet = DeviceFleet(shape, cpu_bank, "slots", precision, slots=4)
    check_fleet(fleet, shape, cpu_bank, precision)
    assert fleet.state.slots.eq(0).all() and not fleet._loaded


@pytest.mark.slow
def test_a_wrong_kernel_ends_in_a_message(device_bank, monkeypatch):
    shape = Shape(replace(SMALLEST, batch_norm=False), 1)  # the interpreter takes a minute for a batch of 32
    right = DeviceFleet(shape, device_bank, "triton", "float32", slots=1)
    check_fleet(right, shape, device_bank, "float32")
    monkeypatch.setattr(convolution, "kernel_gradient_kernel", WrongKernel(convolution.kernel_gradient_kernel, SPLIT=512))
    wrong = DeviceFleet(shape, device_bank, "triton", "float32", slots=1)
    with pytest.raises(
        BuildError, match=r"a training step in float32 .* the gradient or statistic of conv\d .*Nothing was trained"
    ) as raised:
        check_fleet(wrong, shape, device_bank, "float32")
    assert "\n" not in str(raised.value) and torch.isfinite(wrong.vectors).all()


def test_a_wrong_score_ends_in_a_message(cpu_bank, monkeypatch):
    shape = Shape(SMALLEST, 32)
    fleet = DeviceFleet(shape, cpu_bank, "slots", "float32", slots=4)
    monkeypatch.setattr(fleet, "_score", lambda: fleet.correct.fill_(1))
    with pytest.raises(BuildError, match=r"\d+% of the images are scored otherwise .*allowed 2%. Nothing was trained"):
        check_fleet(fleet, shape, cpu_bank, "float32")
