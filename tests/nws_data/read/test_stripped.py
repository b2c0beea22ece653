"""Windows of vectors from which values were taken out, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

import nws_data
from nws_data.errors import WindowError
from nws_data.read.views import StrippedWindows
from nws_data.space.architecture import Architecture
from tests.conftest import TinyDataset


@pytest.mark.parametrize("part", ["all", "conv", "fc"])
def test_windows_are_those_of_the_shorter_vector(tiny_dataset: TinyDataset, part: str) -> None:
    data = nws_data.open(tiny_dataset.root, "random").select(last=1, finite=True)
    view = StrippedWindows(data, 500, part, windows_per_vector=4)
    weights, labels = view[:]
    assert labels.tolist() == np.repeat(np.arange(len(data)), 4).tolist()
    for row in range(len(data)):
        architecture = Architecture.of(data.hyperparameters(row))
        tensors = [t for layer in architecture.layers for t in layer.tensors]
        gone = np.concatenate([np.arange(t.start, t.stop) for t in tensors if t.kind != "kernel"])
        vector = np.delete(data.vector(row).numpy(), gone)
        n_conv = architecture.n_weights_conv - (gone < architecture.n_weights_conv).sum()
        first = n_conv if part == "fc" else 0
        last = (n_conv if part == "conv" else len(vector)) - 500
        starts = np.rint(np.linspace(first, last, 4)).astype(int)
        assert view.starts()[4 * row : 4 * row + 4].tolist() == starts.tolist()
        assert weights[4 * row : 4 * row + 4].numpy().tolist() == [vector[s : s + 500].tolist() for s in starts]


def test_what_is_refused(tiny_dataset: TinyDataset) -> None:
    data = nws_data.open(tiny_dataset.root, "fixed").select(last=1)
    assert StrippedWindows(data, 90_000)[0][0].shape == (90_000,)
    with pytest.raises(WindowError):
        StrippedWindows(data, 92_800)  # the whole vector would hold it


def test_the_spill_share_is_that_of_what_is_left(tiny_dataset: TinyDataset) -> None:
    data = nws_data.open(tiny_dataset.root, "random").select(last=1, finite=True)
    convolutions = [layer for layer in Architecture.of(data.hyperparameters(0)).layers if layer.is_conv]
    left = sum(layer["kernel"].stop - layer["kernel"].start for layer in convolutions)  # the same in all networks here
    assert left + 1 <= data["n_weights_conv"].min()  # whole vectors would not spill
    assert [StrippedWindows(data, length, "conv").spill_share for length in (left, left + 1)] == [0, 1]
