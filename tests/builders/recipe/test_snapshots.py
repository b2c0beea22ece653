"""The thinning buffer: choices worked by hand, bounded memory, and vectors that belong to their evaluations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from builders.recipe.snapshots import CAPACITY, N_SNAPSHOTS, SnapshotBuffer, choose

# The points are k (E - 1) / 19 for k = 0 ... 19; the choice is the nearest evaluation that was kept.
CHOICES = {
    20: (1, list(range(20))),
    # 20 k / 19: 9.47 -> 9 at k = 9, 10.53 -> 11 at k = 10
    21: (1, [*range(10), *range(11, 21)]),
    39: (1, list(range(0, 39, 2))),
    # 39 k / 19: 18.47 -> 18 at k = 9, 20.53 -> 21 at k = 10
    40: (1, [*range(0, 19, 2), *range(21, 40, 2)]),
    # 3.26, 6.53, 9.79, 13.05, 16.32, 19.58, 22.84, 26.11, 29.37, 32.63, 35.89, 39.16, 42.42, 45.68, 48.95, 52.21,
    # 55.47, 58.74
    63: (1, [0, 3, 7, 10, 13, 16, 20, 23, 26, 29, 33, 36, 39, 42, 46, 49, 52, 55, 59, 62]),
    # Kept: 0, 2, ..., 62 and 63. 3.32, 6.63, 9.95, 13.26, 16.58, 19.89, 23.21, 26.53, 29.84, 33.16, 36.47, 39.79, 43.11,
    # 46.42, 49.74, 53.05, 56.37, 59.68
    64: (2, [0, 4, 6, 10, 14, 16, 20, 24, 26, 30, 34, 36, 40, 44, 46, 50, 54, 56, 60, 63]),
    # Kept: 0, 2, ..., 64. 3.37, 6.74, 10.11, 13.47, 16.84, 20.21, 23.58, 26.95, 30.32, 33.68, 37.05, 40.42, 43.79, 47.16,
    # 50.53, 53.89, 57.26, 60.63
    65: (2, [0, 4, 6, 10, 14, 16, 20, 24, 26, 30, 34, 38, 40, 44, 48, 50, 54, 58, 60, 64]),
    # Kept: 0, 4, ..., 196 and 199. 10.47, 20.95, 31.42, 41.89, 52.37, 62.84, 73.32, 83.79, 94.26, 104.74, 115.21, 125.68,
    # 136.16, 146.63, 157.11, 167.58, 178.05, 188.53
    200: (4, [0, 12, 20, 32, 40, 52, 64, 72, 84, 96, 104, 116, 124, 136, 148, 156, 168, 180, 188, 199]),
}


def filled(n: int) -> SnapshotBuffer:
    """A buffer after n evaluations whose vectors hold their number."""
    buffer = SnapshotBuffer()
    for evaluation in range(n):
        buffer.add(np.full(3, evaluation, np.float32))
    return buffer


@pytest.mark.parametrize("n", CHOICES)
def test_choices_worked_by_hand(n):
    buffer = filled(n)
    stride, expected = CHOICES[n]
    chosen, vectors = buffer.result()
    assert chosen == expected
    assert buffer.stride == stride
    assert vectors.shape == (N_SNAPSHOTS, 3) and vectors.dtype == np.float32
    assert np.array_equal(vectors, np.repeat(np.array(expected, np.float32)[:, None], 3, 1))


def test_every_length_up_to_the_cap():
    buffer = filled(19)
    for n in range(20, 1002):
        buffer.add(np.full(3, n - 1, np.float32))
        chosen, vectors = buffer.result()
        assert chosen[0] == 0 and chosen[-1] == n - 1
        assert len(chosen) == 20 and all(a < b for a, b in pairwise(chosen))
        assert vectors[:, 0].tolist() == chosen
        # Twice 19 times the distance to the point, in whole numbers: at most half a stride off.
        assert all(2 * abs(19 * c - k * (n - 1)) <= 19 * buffer.stride for k, c in enumerate(chosen))
        assert (buffer.stride == 1) == (n <= 63)
        assert len(buffer._vectors) <= CAPACITY + 1 == 64
    assert buffer.stride == 16  # 0, 16, ..., 992 are 63; 1,008 would have been the 64th


def test_asking_for_the_result_changes_nothing():
    a, b = filled(0), filled(0)
    for evaluation in range(150):
        for buffer in (a, b):
            buffer.add(np.full(1, evaluation))
        if evaluation >= 19:
            a.result()
    assert a.result()[0] == b.result()[0]


def test_vectors_are_copied():
    buffer, vector = SnapshotBuffer(), np.zeros(2, np.float32)
    for evaluation in range(20):
        vector[:] = evaluation
        buffer.add(vector)
    assert buffer.result()[1][:, 0].tolist() == list(range(20))


def test_ties_go_to_the_earlier_evaluation():
    # The point in the middle of 0 ... 2 is 1: 0 and 2 are equally far.
    assert choose([0, 2], 3) == [0, 0, 2]
    assert choose([0, 1, 2], 3) == [0, 1, 2]


def test_a_smaller_buffer_thins_earlier():
    buffer = SnapshotBuffer(capacity=4)
    for evaluation in range(9):
        buffer.add(np.full(1, evaluation))
    # 0 1 2 3 | 0 2 4 6 | 0 4 8
    assert buffer.stride == 4 and sorted(buffer._vectors) == [0, 4, 8]
