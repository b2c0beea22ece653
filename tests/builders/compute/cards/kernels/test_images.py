"""The images of a step are those of the definition: the same draws, the same images but for rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.kernels.images import images_kernel
from builders.compute.cards.state import State
from builders.recipe.augmentation import RANGES, augment, normal_quantiles, to_float


def launched(state: State, bank: DeviceBank, bounds: Tensor) -> Tensor:
    """The images of all slots, ``(slots, batch, 32, 32, 4)``, in the dtype of the parameters' bounds ``(10, 2)``."""
    slots, longest, batch = state.rows.shape
    ranges = torch.stack([bounds[:, 0], bounds[:, 1] - bounds[:, 0]], 1)
    x = torch.full((slots, batch, 32, 32, 4), 9, dtype=bounds.dtype, device=bounds.device)
    tensors = state.slots, state.rows, bank.images, ranges, normal_quantiles(bounds.device, torch.float32), x
    images_kernel[(batch, slots)](*tensors, longest, BATCH=batch, AUGMENTING=True, enable_fp_fusion=False)
    return x


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_images_are_those_of_the_definition(device_bank, dtype, bound):
    device = device_bank.device
    state = State((3, 1, 2, 4), dtype, device)
    seeds, steps = [0, 2**62 + 12345, 7], [0, 99_999, 2**32 - 1]
    rows = device_bank.first_row["colour", "train"] + torch.arange(24, dtype=torch.int32, device=device)
    state.rows.copy_(rows.view(3, 2, 4))
    for slot, (seed, step) in enumerate(zip(seeds, steps, strict=True)):
        state.slots[slot] = torch.tensor([seed, step, slot % 2, 1, 0, int(slot > 0)])
    x = launched(state, device_bank, torch.tensor(list(RANGES.values()), dtype=dtype, device=device))
    assert x[..., 3].eq(0).all()
    for slot, (seed, step) in enumerate(zip(seeds, steps, strict=True)):
        raw = device_bank.images[state.rows[slot, slot % 2]]
        expected = augment(raw, seed, step, dtype) if slot else to_float(raw, dtype)
        assert (x[slot, ..., :3].permute(0, 3, 1, 2) - expected).abs().max() <= (bound if slot else 0)
    assert len({image.numpy().tobytes() for image in x.flatten(0, 1).cpu()}) == 12


def test_an_image_without_colour_stays_so(device_bank):
    device = device_bank.device
    state = State((1, 1, 1, 2), torch.float32, device)
    state.rows.copy_(device_bank.first_row["digits", "train"] + torch.tensor([[[3, 4]]]))
    state.slots[0] = torch.tensor([5, 1, 0, 1, 0, 1])
    bounds = torch.tensor(list(RANGES.values()), device=device)
    bounds[-1] = 0  # no noise
    x = launched(state, device_bank, bounds)
    assert torch.equal(x[..., 0], x[..., 1]) and torch.equal(x[..., 0], x[..., 2]) and x.any()
