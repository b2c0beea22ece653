"""The device bank holds every image of every set, and a gather mixes them."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(("name", "part", "n"), [("digits", "train", 100), ("digits", "test", 30), ("colour", "train", 120)])
def test_parts_are_those_of_the_bank(device_bank, bank, name, part, n):
    rows = torch.arange(n, device=device_bank.device) + device_bank.first_row[name, part]
    images, labels = device_bank.gather(rows)
    assert images.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(images.cpu(), bank.images(name, part).expand(-1, 3, -1, -1))
    assert torch.equal(labels.cpu(), bank.labels(name, part).long())


def test_a_gather_mixes_sets(device_bank, bank):
    rows = [device_bank.first_row["colour", "test"] + 3, device_bank.first_row["digits", "train"] + 7]
    images, labels = device_bank.gather(torch.tensor(rows, device=device_bank.device, dtype=torch.int32))
    assert torch.equal(images[0].cpu(), bank.images("colour", "test")[3])
    assert torch.equal(images[1].cpu(), bank.images("digits", "train")[7].expand(3, -1, -1))
    assert labels.tolist() == [int(bank.labels("colour", "test")[3]), int(bank.labels("digits", "train")[7])]
