"""Hand-worked starts; uniformity against scipy."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from nws_data.errors import SelectionError, WindowError
from nws_data.read.windows import check_length, official_starts, random_starts, spills, start_range
from nws_data.space.architecture import Architecture, all_architectures

# A vector of 100 values, 30 of them conv; one of 100 with 80 conv.
N, N_CONV = np.array([100, 100], np.int32), np.array([30, 80], np.int32)


@pytest.mark.parametrize(
    ("part", "length", "first", "last"),
    [
        ("all", 10, [0, 0], [90, 90]),
        ("all", 100, [0, 0], [0, 0]),
        ("conv", 10, [0, 0], [20, 70]),
        ("conv", 40, [0, 0], [0, 40]),  # the first conv part is too short: one window, running into fc
        ("fc", 10, [30, 80], [90, 90]),
        ("fc", 20, [30, 80], [80, 80]),
        ("fc", 50, [30, 50], [50, 50]),  # the second fc part is too short: one window, beginning in conv
        ("fc", 100, [0, 0], [0, 0]),
    ],
)
def test_start_ranges(part: str, length: int, first: list[int], last: list[int]) -> None:
    found = start_range(part, length, N, N_CONV)
    assert [f.tolist() for f in found] == [first, last]


def test_spills_are_the_parts_shorter_than_the_window() -> None:
    assert spills("conv", 40, N, N_CONV).tolist() == [True, False]
    assert spills("fc", 20, N, N_CONV).tolist() == [False, False]
    assert spills("fc", 21, N, N_CONV).tolist() == [False, True]
    assert not spills("all", 100, N, N_CONV).any()


def test_36_of_the_243_conv_parts_are_shorter_than_5000() -> None:
    architectures = all_architectures()
    n = np.array([a.n_weights for a in architectures])
    n_conv = np.array([a.n_weights_conv for a in architectures])
    assert spills("conv", 5000, n, n_conv).sum() == 36


def test_unknown_part() -> None:
    with pytest.raises(SelectionError, match="part: got 'bn'; choose one of all, conv, fc"):
        start_range("bn", 10, N, N_CONV)


@pytest.mark.parametrize("length", [0, -1, 50000])
def test_length_must_fit_the_shortest_vector(length: int) -> None:
    smallest = min(a.n_weights for a in all_architectures())
    with pytest.raises(WindowError) as error:
        check_length(length, np.array([smallest, 92868]))
    text = f"length: window must be in [1, 21260] (the shortest vector of this selection), got {length}"
    assert str(error.value) == text


@pytest.mark.parametrize("length", ["5000", 3.7, True, None])
def test_length_must_be_a_whole_number(length: Any) -> None:
    with pytest.raises(WindowError) as error:
        check_length(length, N)
    text = f"length: window must be in [1, 100] (the shortest vector of this selection), got {length!r}: give a whole number"
    assert str(error.value) == text
    assert check_length(np.int64(7), N) == 7


def test_random_starts_reach_both_ends_uniformly() -> None:
    first, last = np.full(21_000, 5), np.full(21_000, 11)
    starts = random_starts(first, last, seed=3, epoch=0)
    counts = np.bincount(starts, minlength=12)
    assert counts[:5].sum() == 0 and len(counts) == 12
    assert chisquare(counts[5:]).pvalue > 0.001


def test_random_starts_depend_on_seed_epoch_and_item_alone() -> None:
    first, last = np.zeros(50, int), np.full(50, 10**5)
    starts = random_starts(first, last, seed=1, epoch=2)
    assert (random_starts(first, last, seed=1, epoch=2) == starts).all()
    assert (random_starts(first[:20], last[:20], seed=1, epoch=2) == starts[:20]).all()
    assert (random_starts(first, last, seed=1, epoch=3) != starts).any()
    assert (random_starts(first, last, seed=2, epoch=2) != starts).any()


def test_several_windows_of_a_vector_stand_side_by_side() -> None:
    first, last = np.array([0, 1000]), np.array([10, 1010])
    starts = random_starts(first, last, seed=0, epoch=0, per_vector=8)
    assert starts.shape == (16,)
    assert (starts[:8] <= 10).all() and (starts[8:] >= 1000).all()
    assert len(set(starts[:8].tolist())) > 1


def test_official_starts() -> None:
    fixed = Architecture(filter_size=5, depth_conv=3, depth_fc=3, width_conv=32, width_fc=128)
    first, last = start_range("fc", 5000, np.array([fixed.n_weights]), np.array([fixed.n_weights_conv]))
    # 16880 to 87868 in nine equal steps of 7887.555...
    expected = [16880, 24768, 32655, 40543, 48430, 56318, 64205, 72093, 79980, 87868]
    assert official_starts(first, last).tolist() == expected
    assert official_starts(np.array([0, 4]), np.array([0, 4])).tolist() == [0] * 10 + [4] * 10


def test_official_starts_on_a_grid() -> None:
    first, last = np.array([10, 0]), np.array([1010, 90])
    found = official_starts(first, last, 5, grid=100)
    # Of the first vector 250 and 750 lie half-way between two places: rint takes the even ones. The second has no room.
    assert found.tolist() == [10, 210, 510, 810, 1010] + [0] * 5
