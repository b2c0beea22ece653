"""Operations of a network, counted by hand."""

from __future__ import annotations

from builders.plan.shape import forward_flop, training_flop
from nws_data.space.architecture import Architecture, all_architectures
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE


def test_the_fixed_architecture():
    # Two operations for each multiply-add: out-channels x in-channels x 25 x pixels, then out-units x in-units.
    by_hand = 2 * (
        8 * 3 * 25 * 32 * 32  #    614,400
        + 16 * 8 * 25 * 16 * 16  # 819,200
        + 32 * 16 * 25 * 8 * 8  #  819,200
        + 128 * 512  #              65,536
        + 64 * 128  #                8,192
        + 20 * 64  #                 1,280
    )
    assert by_hand == 4_655_616
    assert forward_flop(Architecture(**FIXED_ARCHITECTURE)) == by_hand


def test_several_convolutions_before_a_pool():
    a = Architecture(filter_size=3, depth_conv=5, depth_fc=4, width_conv=16, width_fc=64)
    # conv1 at 32x32; conv2 and conv3 at 16x16; conv4 and conv5 at 8x8
    conv = 9 * (4 * 3 * 1024 + 8 * 4 * 256 + 8 * 8 * 256 + 16 * 8 * 64 + 16 * 16 * 64)
    fc = 256 * 64 + 64 * 32 + 32 * 16 + 16 * 20
    assert forward_flop(a) == 2 * (conv + fc)


def test_training_is_three_forward_passes():
    for a in all_architectures()[::40]:
        assert training_flop(a) == 3 * forward_flop(a)


def test_norms_cost_nothing():
    for a, plain in zip(all_architectures()[::40], all_architectures(False)[::40], strict=True):
        assert forward_flop(a) == forward_flop(plain)
