"""The image bank: what goes in comes out, atomically, shared and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders.images.arrays import ImageArrays, image_arrays
from builders.images.bank import PARTS, ImageBank, write_bank
from nws_data.errors import BuildError


def image_set(name: str, *pixel: int, n_train: int = 30, n_test: int = 20) -> ImageArrays:
    """Make a set of random images with ``pixel`` values a position: ``()`` gray, ``(3,)`` colour."""
    rng = np.random.default_rng(len(name))
    parts = [(rng.integers(0, 256, (n, 32, 32, *pixel), dtype=np.uint8), np.arange(n) % 10) for n in (n_train, n_test)]
    return image_arrays(name, *parts, "made up")


@pytest.fixture
def sets() -> list[ImageArrays]:
    return [image_set("colour", 3), image_set("gray"), image_set("other", 3, n_train=10, n_test=11)]


def test_round_trip(tmp_path: Path, sets: list[ImageArrays]) -> None:
    described = write_bank(tmp_path / "bank", sets)
    bank = ImageBank.open(tmp_path / "bank")
    assert list(bank.sets.values()) == described
    assert bank.nbytes == 50 * (3 * 1024 + 1) + 50 * (1024 + 1) + 21 * (3 * 1024 + 1)
    for arrays in sets:
        for part in PARTS:
            images, labels = bank.images(arrays.name, part), bank.labels(arrays.name, part)
            assert images.dtype == labels.dtype == torch.uint8
            assert images.shape[1] == (1 if arrays.name == "gray" else 3)
            assert np.array_equal(images.expand(-1, 3, -1, -1), getattr(arrays, f"{part}_images"))
            assert np.array_equal(labels, getattr(arrays, f"{part}_labels"))


def test_gray_is_found_in_the_pixels(tmp_path: Path) -> None:
    gray = image_set("gray")
    spread = replace(gray, train_images=gray.train_images.copy(), test_images=gray.test_images.copy())
    assert write_bank(tmp_path, [spread])[0].digest == write_bank(tmp_path, [gray])[0].digest
    spread.test_images[-1, 2, 31, 31] ^= 1
    write_bank(tmp_path, [spread])
    assert ImageBank.open(tmp_path).images("gray", "test").shape == (20, 3, 32, 32)


def test_a_damaged_bank_is_replaced(tmp_path: Path, sets: list[ImageArrays]) -> None:
    data = tmp_path / f"images-{write_bank(tmp_path, sets)[0].digest[:12]}.bin"
    good = data.read_bytes()
    data.write_bytes(good[:12345] + bytes([good[12345] ^ 1]) + good[12346:])
    write_bank(tmp_path, sets)
    assert data.read_bytes() == good


def test_other_sets_replace_the_bank(tmp_path: Path, sets: list[ImageArrays]) -> None:
    (tmp_path / ".images-000000000000.bin.tmp-1").write_bytes(b"left by a killed build")
    write_bank(tmp_path, sets)
    old = ImageBank.open(tmp_path)
    write_bank(tmp_path, sets[:1])
    assert list(ImageBank.open(tmp_path).sets) == ["colour"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bin", ".json"]
    assert old.images("gray", "test").float().mean() > 0  # a process that has the old bank open keeps it


def test_digest_is_of_content_alone(tmp_path: Path, sets: list[ImageArrays]) -> None:
    first = write_bank(tmp_path / "a", sets)
    second = write_bank(tmp_path / "b", [replace(arrays, name=f"{arrays.name}2") for arrays in reversed(sets)])
    assert [item.digest for item in first] == [item.digest for item in reversed(second)]
    swapped = replace(sets[0], train_labels=sets[0].train_labels[::-1].copy())
    assert write_bank(tmp_path / "c", [swapped])[0].digest != first[0].digest


def test_writing_into_a_view_reaches_no_other_process(tmp_path: Path, sets: list[ImageArrays]) -> None:
    write_bank(tmp_path, sets)
    ImageBank.open(tmp_path).images("colour", "train").zero_()
    assert ImageBank.open(tmp_path).images("colour", "train").any()


def test_broken_banks(tmp_path: Path, sets: list[ImageArrays]) -> None:
    with pytest.raises(BuildError, match="no image bank"):
        ImageBank.open(tmp_path)
    write_bank(tmp_path, sets)
    good, data = (tmp_path / "bank.json").read_text(), next(tmp_path.glob("images-*.bin"))
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(BuildError, match=r"no image bank .*images-\w+\.bin has [\d,]+ bytes"):
        ImageBank.open(tmp_path)
    for text in ("[", "{}}", '[{"name": "x"}]', good.replace("0.25", "25")):
        (tmp_path / "bank.json").write_text(text)
        with pytest.raises(BuildError, match="no image bank"):
            ImageBank.open(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path, sets: list[ImageArrays]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BuildError, match=r"cannot write .*bank"):
        write_bank(tmp_path / "file" / "bank", sets)
