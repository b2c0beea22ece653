"""The generator: published vectors of Random123, the documented layout, and independence of everything but the keys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from nws_data.randomness import GENERATOR, Purpose, bits, permutation, philox, words

# kat_vectors of Random123, lines "philox4x32 10": counter, key, output.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
SEED = 0x7FFF_FFFF_FFFF_FFFE - 0x1234_5678_9ABC  # both key words large


def philox_reference(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 on Python's whole numbers, as the paper prints it."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected):
    assert tuple(philox_reference(counter, key)) == expected
    out = philox(counter, key, torch.zeros(3, 2, dtype=torch.int64))
    for word, value in zip(out, expected, strict=True):
        assert word.dtype == torch.int64 and word.shape == (3, 2)
        assert (word == value).all()


def test_counter_words_may_be_tensors_and_broadcast():
    like = torch.zeros(2, 3, dtype=torch.int64)
    column = torch.tensor([[5], [0xFFFFFFFF]])
    out = philox((torch.arange(3), column, 1, 2), (column, 9), like)
    for i, j in np.ndindex(2, 3):
        c = int(column[i])
        assert [int(word[i, j]) for word in out] == philox_reference([j, c, 1, 2], [c, 9])


@pytest.mark.parametrize("n", [1, 4, 11])
def test_element_i_is_word_i_mod_4_of_block_i_div_4(n):
    key = [SEED & 0xFFFFFFFF, SEED >> 32]
    step = 2**32 - 1
    expected = [philox_reference([i // 4, step, int(Purpose.NOISE), 0], key)[i % 4] for i in range(n)]
    drawn = words(SEED, Purpose.NOISE, step, n)
    assert drawn.dtype == torch.int64
    assert drawn.tolist() == expected


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 1000])
def test_bit_i_is_bit_i_mod_32_of_word_i_div_32(n):
    drawn = words(SEED, Purpose.DROPOUT, 7, 32).tolist()
    assert bits(SEED, Purpose.DROPOUT, 7, n).tolist() == [drawn[i // 32] >> i % 32 & 1 for i in range(n)]


def test_a_batch_of_members_equals_single_calls():
    seeds, steps = torch.tensor([0, 1, SEED]), torch.tensor([7, 0, 7])
    together = words(seeds, Purpose.DROPOUT, steps, 9)
    assert together.shape == (3, 9)
    for row, seed, step in zip(together, seeds.tolist(), steps.tolist(), strict=True):
        assert torch.equal(row, words(seed, Purpose.DROPOUT, step, 9))
    assert torch.equal(words(seeds, Purpose.DROPOUT, 7, 9)[2], together[2])


def test_more_elements_never_change_the_first():
    assert torch.equal(words(3, Purpose.WINDOW, 4, 1000)[:17], words(3, Purpose.WINDOW, 4, 17))
    assert words(3, Purpose.WINDOW, 4, 0).shape == (0,)


def test_seed_purpose_and_step_each_give_another_stream():
    keys = itertools.product((1, 2, 1 << 32, 2 << 32), Purpose, (0, 1, 1 << 20))
    streams = [words(seed, purpose, step, 64) for seed, purpose, step in keys]
    # Of 6,912 words of 32 bits, 0.006 pairs are equal by chance.
    drawn = torch.stack(streams).flatten()
    assert len(drawn.unique()) == len(drawn)
    correlation = np.corrcoef(torch.stack(streams).numpy())
    assert np.abs(correlation[~np.eye(len(streams), dtype=bool)]).max() < 0.6


def test_words_are_uniform():
    drawn = words(11, Purpose.EPOCH_DRAW, 0, 100_000)
    assert int(drawn.min()) >= 0 and int(drawn.max()) < 2**32
    assert stats.kstest(drawn.numpy() / 2**32, "uniform").pvalue > 1e-3
    for bit in range(32):
        assert abs(((drawn >> bit) & 1).double().mean() - 0.5) < 0.008  # five standard deviations


def test_permutation_holds_every_element_once_and_sorts_the_words():
    order = permutation(5, Purpose.EPOCH_ORDER, 3, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    drawn = words(5, Purpose.EPOCH_ORDER, 3, 1000)[order]
    assert (drawn.diff() >= 0).all()
    assert not torch.equal(order, permutation(5, Purpose.EPOCH_ORDER, 4, 1000))


def test_permutations_are_uniform():
    counts = np.zeros((4, 4))
    for step in range(2000):
        counts[np.arange(4), permutation(9, Purpose.EPOCH_ORDER, step, 4).numpy()] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_stored_datasets_depend_on_these_numbers():
    assert GENERATOR == "philox4x32-10/1"
    pinned = {
        "HYPERPARAMETERS": 0,
        "VALIDATION_SPLIT": 1,
        "INITIALIZATION": 2,
        "EPOCH_DRAW": 3,
        "EPOCH_ORDER": 4,
        "DROPOUT": 5,
        "AUGMENTATION": 6,
        "NOISE": 7,
        "WINDOW": 8,
        "PERMUTATION": 9,
    }
    assert pinned.items() <= {p.name: p.value for p in Purpose}.items()
    assert len({p.value for p in Purpose}) == len(Purpose.__members__)
