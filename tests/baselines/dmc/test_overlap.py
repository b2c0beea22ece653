"""Windows of one vector that share their layers: what comes out is what each gives alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nws_data
from baselines.dmc import overlap
from baselines.dmc.layers import DMCLayers
from baselines.dmc.method import DMC
from baselines.dmc.module import DMCModule
from nws_data.space.architecture import Part
from tests.conftest import TinyDataset


def fitted(length: int, inputs: str = "asinh", n_classes: int | None = 3) -> DMC:
    """A DMC with drawn weights and statistics, as if it were fitted."""
    method = DMC()
    method._module, method.length = DMCModule(length, n_classes, inputs=inputs, target_mean=2, target_scale=3), length
    network, generator = method._module.network, torch.Generator().manual_seed(1)
    for norm in [*network.convolution_norms, *network.matrix_norms]:
        norm.running_mean.copy_(torch.rand(norm.running_mean.shape, generator=generator) * 0.2)
        norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) * 0.2 + 0.1)
        norm.bias.data.normal_(0, 0.3, generator=generator)
    return method


def rows_of(data: nws_data.NWSDataset, *, trainings: int, snapshots: int) -> nws_data.NWSDataset:
    rows = [np.flatnonzero(data["training"] == name)[:snapshots] for name in np.unique(data["training"])[:trainings]]
    return data.take(np.concatenate(rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "part", "inputs"),
    [(5000, "all", "asinh"), (3001, "conv", "asinh"), (5000, "fc", "raw"), (4600, "all", "raw")],
)
def test_outputs_are_those_of_the_windows_alone(tiny_dataset: TinyDataset, length: int, part: Part, inputs: str) -> None:
    data = rows_of(nws_data.open(tiny_dataset.root, "random"), trainings=2, snapshots=2)
    method = fitted(length, inputs)
    assert method._module is not None
    network, layers = method._module.network.eval(), DMCLayers.of(length, 3)
    view = nws_data.FixedWindows(data, length, part, windows_per_vector=4, grid=overlap.stride(layers))
    alone = nws_data.FixedWindows(
        data, length, part, windows_per_vector=4, grid=view.grid, transform=lambda weights: weights
    )
    assert overlap.shares(layers, view) and not overlap.shares(layers, alone)
    with torch.inference_mode():
        expected = network(alone[:][0]).numpy()
        found = torch.cat(list(overlap.outputs(network, view, "cpu"))).numpy()
    each = expected.reshape(4, 4, 3)
    if part != "conv":  # a small net's conv part is shorter than the window: its four are one
        spread = np.abs(np.diff(each, axis=1)).max(axis=(1, 2)).min()
        assert spread > 1e-2 * np.abs(expected).max()  # so a window in the place of another would be seen
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("n_classes", [3, None])
def test_predictions_of_the_method(tiny_dataset: TinyDataset, n_classes: int | None) -> None:
    data = rows_of(nws_data.open(tiny_dataset.root, "random"), trainings=1, snapshots=2)
    method = fitted(5000, "asinh", n_classes)
    grid = {"windows_per_vector": 3, "grid": 512}
    expected = method.predict(nws_data.FixedWindows(data, **grid, transform=lambda weights: weights))
    found = method.predict(nws_data.FixedWindows(data, **grid))
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_shared(tiny_dataset: TinyDataset) -> None:
    data = nws_data.open(tiny_dataset.root, "random")
    layers = DMCLayers.of(5000, 3)
    assert overlap.stride(layers) == 256
    assert not overlap.shares(layers, nws_data.FixedWindows(data))
    assert not overlap.shares(layers, nws_data.FixedWindows(data, grid=128))
    assert not overlap.shares(layers, nws_data.RandomWindows(data))
    short = DMCLayers.of(100, 3)  # the strips of both ends meet
    assert not overlap.shares(short, nws_data.FixedWindows(data, 100, grid=overlap.stride(short)))
