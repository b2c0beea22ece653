"""Algorithm 1 as data: the paper's counts, and slices that cover the vector in the documented order."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from nws_data.errors import HyperParameterError, SelectionError
from nws_data.space.architecture import KINDS, N_OUTPUTS, Architecture, all_architectures
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, sample_many

FIXED = Architecture(**FIXED_ARCHITECTURE)


def count_by_hand(a: Architecture) -> tuple[int, int]:
    """Values of conv and FC part from the text of Algorithm 1 alone."""
    w = a.width_conv // 4
    channels = {3: [w, 2 * w, 4 * w], 4: [w, 2 * w, 4 * w, 4 * w], 5: [w, 2 * w, 2 * w, 4 * w, 4 * w]}[a.depth_conv]
    units = [a.width_fc >> i for i in range(a.depth_fc - 1)]
    norm = 4 if a.batch_norm else 0
    ins = [3, *channels]
    conv = sum(c * (i * a.filter_size**2 + 1 + norm) for i, c in zip(ins, channels, strict=False))
    ins = [a.width_conv * 4 * 4, *units]
    fc = sum(u * (i + 1 + norm) for i, u in zip(ins, units, strict=False)) + 20 * (units[-1] + 1)
    return conv, fc


def test_the_papers_counts():
    assert FIXED.n_weights == 92_868
    assert FIXED.n_weights_conv == 16_880
    assert FIXED.n_weights - FIXED.n_weights_conv == 75_988


def test_the_243_architectures():
    sizes = [a.n_weights for a in all_architectures()]
    assert len(sizes) == len(set(all_architectures())) == 243
    assert (min(sizes), max(sizes)) == (21_260, 388_172)
    assert Fraction(sum(sizes), 243) == Fraction(1_127_428, 9)  # 125,269.777...
    assert sum(a.n_weights_conv < 5000 for a in all_architectures()) == 36


@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_count_follows_from_algorithm_1(batch_norm):
    for a in all_architectures(batch_norm):
        conv, fc = count_by_hand(a)
        assert (a.n_weights_conv, a.n_weights - a.n_weights_conv) == (conv, fc)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_slices_cover_the_vector_in_the_documented_order(batch_norm):
    for a in all_architectures(batch_norm):
        at, seen_fc = 0, False
        for layer in a.layers:
            assert layer.is_conv == layer.name.startswith("conv")
            assert not (seen_fc and layer.is_conv)
            seen_fc = not layer.is_conv
            has_norm = batch_norm and not layer.is_output
            assert layer.has_norm == has_norm
            assert tuple(t.kind for t in layer.tensors) == (KINDS if has_norm else ("kernel", "bias"))
            for tensor in layer.tensors:
                assert tensor.start == at and tensor.slice == slice(tensor.start, tensor.stop)
                assert tensor.stop - tensor.start == math.prod(tensor.shape)
                at = tensor.stop
        assert at == a.n_weights


def test_layers_of_the_fixed_architecture():
    assert [(x.name, x["kernel"].shape, x.pool_after, x.is_output) for x in FIXED.layers] == [
        ("conv1", (8, 3, 5, 5), True, False),
        ("conv2", (16, 8, 5, 5), True, False),
        ("conv3", (32, 16, 5, 5), True, False),
        ("fc1", (128, 512), False, False),
        ("fc2", (64, 128), False, False),
        ("fc3", (20, 64), False, True),
    ]
    # conv1: 600 kernel values, then 8 of each other kind.
    assert [(t.kind, t.start, t.stop) for t in FIXED.layer("conv1").tensors] == [
        ("kernel", 0, 600),
        ("bias", 600, 608),
        ("beta", 608, 616),
        ("gamma", 616, 624),
        ("mean", 624, 632),
        ("variance", 632, 640),
    ]
    assert FIXED.layer("fc1")["kernel"].start == 16_880
    assert FIXED.layer("fc3")["bias"].stop == 92_868


def test_the_deepest_architecture():
    a = Architecture(filter_size=7, depth_conv=5, depth_fc=5, width_conv=48, width_fc=192)
    assert [(x.n_in, x.n_out, x.pool_after) for x in a.layers] == [
        (3, 12, True),
        (12, 24, False),
        (24, 24, True),
        (24, 48, False),
        (48, 48, True),
        (768, 192, False),
        (192, 96, False),
        (96, 48, False),
        (48, 24, False),
        (24, 20, False),
    ]


def test_six_to_ten_layers_three_pools_one_output():
    lengths = set()
    for a in all_architectures():
        lengths.add(len(a.layers))
        assert len(a.layers) == a.depth_conv + a.depth_fc
        assert sum(layer.pool_after for layer in a.layers) == 3
        assert [layer.is_output for layer in a.layers] == [False] * (len(a.layers) - 1) + [True]
        assert a.layers[-1].n_out == N_OUTPUTS == 20
        for before, after in zip(a.layers, a.layers[1:], strict=False):
            flattened = before.is_conv and not after.is_conv
            assert after.n_in == before.n_out * (16 if flattened else 1)
    assert lengths == {6, 7, 8, 9, 10}


def test_fans():
    conv, fc = FIXED.layer("conv2"), FIXED.layer("fc1")
    assert (conv.fan_in, conv.fan_out) == (8 * 25, 16 * 25)
    assert (fc.fan_in, fc.fan_out) == (512, 128)


def test_without_batch_norm():
    plain = Architecture(**FIXED_ARCHITECTURE, batch_norm=False)
    # Less four values for each of 8 + 16 + 32 channels and 128 + 64 units.
    assert plain.n_weights == 92_868 - 4 * (56 + 192)
    assert plain.n_weights_conv == 16_880 - 4 * 56


def test_architecture_of_a_training():
    hp = next(sample_many([3], "random", batch_norm=False))
    a = Architecture.of(hp)
    assert not a.batch_norm
    for name in FIXED_ARCHITECTURE:
        assert getattr(a, name) == getattr(hp, name)
    assert Architecture.of(next(sample_many([3], "fixed"))) == FIXED


def test_errors_name_value_and_choice():
    for name in FIXED_ARCHITECTURE:
        with pytest.raises(HyperParameterError) as caught:
            Architecture(**FIXED_ARCHITECTURE | {name: 6})
        assert str(caught.value) == f"{name}: got 6; choose one of {', '.join(map(str, CLASSES[name]))}"
    with pytest.raises(SelectionError, match="layer: got 'fc4'; choose one of conv1, conv2, conv3, fc1, fc2, fc3"):
        FIXED.layer("fc4")
    with pytest.raises(SelectionError, match="fc3: got 'beta'; choose one of kernel, bias"):
        FIXED.layer("fc3")["beta"]
