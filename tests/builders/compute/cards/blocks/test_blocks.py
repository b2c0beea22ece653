"""Every implementation of the conv block equals plain PyTorch in float64, forward and backward.

Float32 bounds are on the relative norm: 2e-6 is about 30 roundings; sums of thousands of terms in blocks stay under it.
In bfloat16 each stored tensor is rounded once, to 2^-9 of itself at worst; layers of exact sums keep the choice of the
pool's cell, so that a gradient never jumps, and 1e-2 is a few roundings.
"""

from __future__ import annotations

import pytest
import torch

from builders.compute.backend import implementation
from tests.builders.compute.cards.blocks.oracle import Case, error, layer_shapes, make_layer, oracle, run
from tests.pairs import all_pairs, all_values

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # on the CPU Triton runs in its interpreter, slowly
BOUNDS = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
SHAPES = layer_shapes()
BACKENDS = ["triton", "grouped"]  # grouped.py beside this file

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning:triton")  # NumPy's, in the interpreter

COVERING = [
    Case(3, 3, 4, 32, True, members=1, batch=1),  # the smallest architecture's first layer, at its size
    Case(3, 3, 8, 8, True),  # all activations; 192 pixels: a tile and a half
    Case(3, 4, 8, 8, True, norm=False, batch=1),
    Case(5, 4, 8, 16, True, members=1, batch=1),
    Case(3, 8, 16, 8, False, members=2),
    Case(5, 16, 32, 8, True, members=1, batch=1, norm=False),
    Case(3, 12, 24, 8, False, members=2, batch=2, norm=False),
    Case(7, 4, 4, 4, True, members=1, batch=1),  # the window is larger than the image
]
"""Layers for the interpreter: kinds of everything, few pixels."""


def compare(backend: str, case: Case, dtype: torch.dtype) -> None:
    layer = make_layer(case, dtype, DEVICE)
    expected, got = oracle(layer), run(implementation(backend), layer)
    assert got.keys() == expected.keys()
    if case.norm:  # its true gradient is zero: what there is is noise, and there is some
        noise, true = got.pop("d_bias"), expected.pop("d_bias")
        scale = expected["d_beta"].abs().max() * case.batch * case.size**2 / case.size
        assert noise.abs().max() < BOUNDS[dtype] * scale and true.abs().max() < 1e-9 * scale
        assert noise.any()
    for name, value in expected.items():
        assert got[name].dtype == (dtype if name in ("y", "d_x") else torch.float32), name
        assert got[name].shape == value.shape, name
        assert error(got[name], value) < BOUNDS[dtype], f"{name} {case}"


def test_the_shapes_are_those_of_the_243_architectures():
    assert len(SHAPES) == 63
    assert (7, 48, 48, 8, True) in SHAPES and (3, 3, 4, 32, True) in SHAPES


@pytest.mark.slow
@pytest.mark.parametrize("norm", [True, False])
def test_the_grouped_block_on_every_layer_of_every_architecture(norm):
    for i, shape in enumerate(SHAPES):
        compare("grouped", Case(*shape, norm=norm, members=1 + i % 4, batch=2), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("case", COVERING, ids=str)
def test_triton_on_layers_of_every_kind(case):
    compare("triton", case, torch.float32)


@pytest.mark.parametrize(
    "choose", [pytest.param(all_values, marks=pytest.mark.slow), pytest.param(all_pairs, marks=pytest.mark.long)]
)
def test_triton_on_layers_of_all_architectures(choose):
    # On few pixels: bfloat16 has the largest tiles, so the fewest steps.
    for filter_size, n_in, n_out, _, pool in choose(SHAPES):
        case = Case(filter_size, n_in, n_out, 8, pool, members=1, batch=1, exact=True)
        compare("triton", case, torch.bfloat16)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("pool", [True, False])
def test_bfloat16_and_equal_cells(backend, norm, pool):
    case = Case(3, 4, 8, 8, pool, norm=norm, members=2, batch=2, exact=True)
    compare(backend, case, torch.bfloat16)
    if pool:
        compare(backend, case, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_do_not_depend_on_the_run_the_companions_or_the_slot(backend, dtype):
    layer = make_layer(Case(3, 4, 8, 8, True, members=2, batch=1 if dtype == torch.float32 else 3), dtype, DEVICE)
    block = implementation(backend)
    whole, shuffled = run(block, layer), run(block, layer.of(1, 0))
    for name, value in whole.items():
        assert torch.equal(value[[1, 0]], shuffled[name]), name
    if dtype == torch.float32:
        again = run(block, layer)
        assert all(torch.equal(value, again[name]) for name, value in whole.items())
    if backend == "triton":
        alone = run(block, layer.of(1))
        assert all(torch.equal(value[[1]], alone[name]) for name, value in whole.items())


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_non_finite_member_stays_so_and_harms_nobody(backend, pool):
    layer = make_layer(Case(3, 4, 4, 8, pool, norm=False, batch=1), torch.float32, DEVICE)
    clean = run(implementation(backend), layer)
    x = layer.tensors[0]
    x[0, 0, 4, 4, 0] = float("nan")  # reaches every cell of a pool window; ReLU, where a careless maximum loses it
    x[3, 0, 3, 3, 0] = float("inf")
    spoilt = run(implementation(backend), layer)
    assert torch.equal(spoilt["y"][0].isnan().cpu(), oracle(layer)["y"][0].isnan()) and spoilt["y"][0].isnan().any()
    for name, value in clean.items():
        assert torch.equal(value[1:3], spoilt[name][1:3]), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_variance_survives_a_mean_far_from_zero(backend):
    layer = make_layer(Case(3, 4, 8, 8, True, members=1, batch=3), torch.float32, DEVICE)
    layer.tensors[2] += 3000  # E[x^2] - E[x]^2 in float32 would be off by about one
    got, expected = run(implementation(backend), layer), oracle(layer)
    assert error(got["variance"], expected["variance"]) < 1e-3
    assert error(got["mean"], expected["mean"]) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_inputs_and_images_that_are_not_square(backend):
    layer = make_layer(Case(3, 4, 4, 8, True, members=2, batch=1), torch.float32, DEVICE)
    layer.tensors[0] = torch.cat([layer.tensors[0], layer.tensors[0].flip(3)], 3).transpose(0, 1)
    layer.tensors[0] = layer.tensors[0].contiguous().transpose(0, 1)
    layer.dy = torch.cat([layer.dy, layer.dy.flip(2)], 3)
    expected, got = oracle(layer), run(implementation(backend), layer)
    for name in ("y", "d_x", "d_kernel", "d_gamma"):
        assert error(got[name], expected[name]) < 2e-6, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_need_no_gradient(backend):
    layer = make_layer(Case(3, 3, 4, 8, True, members=1, batch=1), torch.float32, DEVICE)
    x, kernel, *rest = layer.tensors
    kernel.requires_grad_()
    y, _, _ = implementation(backend)(x, kernel, *rest, layer.codes, pool=True)
    (gradient,) = torch.autograd.grad(y, [kernel], layer.dy)
    assert torch.equal(gradient, run(implementation(backend), layer)["d_kernel"])
