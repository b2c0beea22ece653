"""Image sources: torchvision's own file formats in miniature, files, folders, and every way they can be wrong."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy import ndimage
from torchvision import datasets

from builders.images import sources as image_sources
from builders.images.arrays import image_arrays, limit_images, prepare, shrink_by_means, split_by_position
from builders.images.prepare import ImageOptions
from builders.images.sources import default_image_root, image_set_name, load_images
from nws_data.errors import BuildError

RNG = np.random.default_rng(0)


def some_images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 10


# --- preparation


def test_enlarging_is_bilinear_with_half_pixel_centres() -> None:
    image = some_images(1, 8, 8)
    positions = (np.arange(32) + 0.5) / 4 - 0.5
    grid = np.meshgrid(positions, positions, indexing="ij")
    expected = ndimage.map_coordinates(image[0].astype(float), grid, order=1, mode="nearest")
    np.testing.assert_allclose(prepare("x", image)[0, 1], expected, atol=0.5 + 1e-4)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((1, 64, 64), np.uint8)
    stripes[:, :, ::2] = 200
    inner = prepare("x", stripes)[0, 0, 4:-4, 4:-4]
    assert inner.min() >= 99 and inner.max() <= 101


@pytest.mark.parametrize("shape", [(4, 32, 32), (4, 1, 32, 32), (4, 3, 32, 32), (4, 32, 32, 3), (4, 3, 40, 20)])
def test_all_layouts_become_planes(shape: tuple[int, ...]) -> None:
    images = some_images(*shape)
    result = prepare("x", images)
    assert result.shape == (4, 3, 32, 32) and result.dtype == np.uint8
    if shape == (4, 32, 32, 3):
        assert np.array_equal(result[:, 2], images[..., 2])
    if shape == (4, 32, 32):
        assert np.array_equal(result[:, 2], images)


def test_means_are_those_of_the_blocks() -> None:
    images = some_images(2, 3, 96, 96)
    assert shrink_by_means(images)[1, 2, 5, 7] == round(images[1, 2, 15:18, 21:24].mean())


def test_split_takes_the_last_fifth_of_each_class() -> None:
    values = np.array([0] * 10 + [1] * 5 + [0] * 5)
    (train, train_labels), (test, test_labels) = split_by_position(np.arange(20), values)
    assert test.tolist() == [14, 17, 18, 19] and test_labels.tolist() == [1, 0, 0, 0]
    assert train.tolist() == [i for i in range(20) if i not in test] and np.array_equal(train_labels, values[train])


# --- named sets


def test_digits_need_no_files(tmp_path: Path) -> None:
    digits = load_images("digits", tmp_path / "absent")
    assert digits.train_images.shape == (1438, 3, 32, 32) and digits.test_images.shape == (359, 3, 32, 32)
    assert digits.train_images.max() == 255 and digits.train_labels[:10].tolist() == list(range(10))
    assert np.bincount(digits.test_labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_mnist(raw: Path, n_train: int) -> tuple[np.ndarray, np.ndarray]:
    train, test = some_images(n_train, 28, 28), some_images(20, 28, 28)
    for prefix, images in (("train", train), ("t10k", test)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels(len(images)).astype(np.uint8))
    return train, test


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_skips_the_first_5000(tmp_path: Path, name: str, folder: str) -> None:
    train, test = write_mnist(tmp_path / folder / "raw", 5030)
    arrays = load_images(name, tmp_path)
    assert np.array_equal(arrays.train_images, prepare("x", train[5000:])) and arrays.name == name
    assert np.array_equal(arrays.train_labels, labels(5030)[5000:])
    assert np.array_equal(arrays.test_images, prepare("x", test))


def test_cifar10_keeps_the_first_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = replace(image_sources.TORCHVISION["cifar10"], kept=slice(30))
    monkeypatch.setitem(image_sources.TORCHVISION, "cifar10", kept)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = some_images(40, 3, 32, 32)
    for file in ("train", "test"):
        (folder / file).write_bytes(pickle.dumps({"data": images.reshape(40, -1), "labels": labels(40).tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["train", None]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test", None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": None})
    arrays = load_images("cifar10", tmp_path)
    assert np.array_equal(arrays.train_images, images[:30]) and np.array_equal(arrays.test_images, images)


def test_svhn_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(20, 3, 32, 32)
    for split in ("train", "test"):
        content = {"X": images.transpose(2, 3, 1, 0), "y": (np.where(labels(20) == 0, 10, labels(20)))[:, None]}
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", content)
    monkeypatch.setattr(datasets.SVHN, "split_list", {s: ["", f"{s}_32x32.mat", None] for s in ("train", "test")})
    arrays = load_images("svhn", tmp_path)
    assert np.array_equal(arrays.train_images, images) and np.array_equal(arrays.test_labels, labels(20))


def test_stl10_is_shrunk_by_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(10, 3, 96, 96)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for split in ("train", "test"):
        images.transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
        (labels(10) + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    monkeypatch.setattr(datasets.STL10, "train_list", [["train_X.bin", None], ["train_y.bin", None]])
    monkeypatch.setattr(datasets.STL10, "test_list", [["test_X.bin", None], ["test_y.bin", None]])
    arrays = load_images("stl10", tmp_path)
    assert np.array_equal(arrays.train_images, shrink_by_means(images)) and np.array_equal(arrays.test_labels, labels(10))


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn", "stl10", "fashion_mnist"])
def test_missing_files_name_the_place_and_the_flag(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildError, match=rf"{name}: {tmp_path}.* is not there .*--download"):
        load_images(name, tmp_path)


def test_truncated_mnist_is_damaged(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST/raw", 5030)
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BuildError, match="damaged or incomplete"):
        load_images("mnist", tmp_path)


def test_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(b"not the file that torchvision knows")
    with pytest.raises(BuildError, match="damaged or incomplete"):
        load_images("svhn", tmp_path)


def test_default_root_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_image_root() == Path("/somewhere/nws/images")


# --- specs


def test_names_of_specs() -> None:
    assert image_set_name("cifar10") == "cifar10" and image_set_name("cells=a/b=c.npz") == "cells"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("imagenet", r"got 'imagenet'; choose one of mnist, .*NAME=FILE.npz"),
        ("Big Name=x.npz", "lower-case"),
        ("=x.npz", "lower-case"),
        (f"{'x' * 101}=x.npz", "up to 100 lower-case"),
        ("cells=/no/such/file.npz", "/no/such/file.npz does not exist"),
    ],
)
def test_wrong_specs(spec: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        load_images(spec)


# --- .npz


def save(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return f"own={path}"


def test_npz_with_its_own_split(tmp_path: Path) -> None:
    train, test = some_images(20, 32, 32, 3), some_images(10, 32, 32, 3)
    spec = save(tmp_path / "a.npz", train_images=train, train_labels=labels(20), test_images=test, test_labels=labels(10))
    arrays = load_images(spec)
    assert arrays.name == "own" and arrays.source == "file a.npz"
    assert np.array_equal(arrays.train_images, train.transpose(0, 3, 1, 2))
    assert np.array_equal(arrays.test_labels, labels(10)) and arrays.test_labels.dtype == np.uint8


def test_npz_without_a_split_is_split(tmp_path: Path) -> None:
    images = some_images(50, 32, 32)
    arrays = load_images(save(tmp_path / "a.npz", images=images, labels=labels(50)))
    assert np.array_equal(arrays.train_images[:, 0], images[:40]) and np.array_equal(arrays.test_images[:, 1], images[40:])


GOOD = {"images": np.zeros((50, 32, 32), np.uint8), "labels": labels(50)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((50, 32, 32), np.float32)}, "must be uint8.*float32"),
        ({"images": np.zeros((50, 32), np.uint8)}, r"must be \(N, H, W\).*\(40, 32\)"),
        ({"images": np.zeros((50, 2, 32, 32), np.uint8)}, r"must be \(N, H, W\)"),
        ({"images": np.zeros((49, 32, 32), np.uint8)}, "one label for each image"),
        ({"labels": labels(50) + 0.0}, "whole numbers"),
        ({"labels": labels(50) + 256}, r"0\.\.9, got 256\.\.265"),
        ({"labels": labels(50) - 1}, r"0\.\.9, got -1\.\.8"),
        ({"labels": np.arange(50) % 9}, "no training images of class 9"),
        ({"images": np.zeros((20, 32, 32), np.uint8), "labels": labels(20)}, r"own \(test\): no images"),
    ],
)
def test_wrong_arrays(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        load_images(save(tmp_path / "a.npz", **(GOOD | change)))


def test_counts_of_a_given_split_are_compared() -> None:
    with pytest.raises(BuildError, match=r"x \(test\): 20 images but 19 labels"):
        image_arrays("x", (some_images(20, 32, 32), labels(20)), (some_images(20, 32, 32), labels(19)), "here")


def test_npz_with_other_keys(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="holds the arrays x; it needs train_images"):
        load_images(save(tmp_path / "a.npz", x=np.zeros(3)))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [truncate, flip, lambda path: path.write_bytes(b""), lambda path: path.write_text("text")]
)
def test_damaged_npz(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    spec = save(tmp_path / "a.npz", **GOOD)
    damage(tmp_path / "a.npz")
    with pytest.raises(BuildError, match=r"a\.npz cannot be read"):
        load_images(spec)


def test_single_array_and_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BuildError, match="single array"):
        load_images(f"own={path}")
    with pytest.raises(BuildError, match="cannot be read"):
        load_images(save(path, images=np.array([{}]), labels=labels(1)))


# --- folders


def write_folder(folder: Path, n: int = 5, n_classes: int = 10, side: int = 32) -> np.ndarray:
    images = some_images(n_classes, n, side, side, 3)
    for label in range(n_classes):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(n):
            Image.fromarray(images[label, i]).save(folder / f"class{label}" / f"{i:03d}.png")
    return images


@pytest.mark.parametrize("kind", ["eps", "huge", "fifo"])
def test_an_image_that_would_run_a_program_fill_memory_or_never_end(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path)
    path = tmp_path / "class0" / "000.png"
    path.unlink()
    if kind == "eps":  # Pillow knows files by their content, and has Ghostscript draw this one
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    elif kind == "huge":
        Image.new("1", (8_000, 8_000)).save(path)
    else:
        os.mkfifo(path)
    expected = {"eps": "cannot identify image file", "huge": "more than 40,000,000 pixels", "fifo": "is no image"}[kind]
    with pytest.raises(BuildError, match=expected):
        load_images(f"own={tmp_path}")


def test_folder_with_its_own_split(tmp_path: Path) -> None:
    train, test = write_folder(tmp_path / "train", 2), write_folder(tmp_path / "test", 1)
    arrays = load_images(f"own={tmp_path}")
    assert np.array_equal(arrays.train_images, train.reshape(20, 32, 32, 3).transpose(0, 3, 1, 2))
    assert np.array_equal(arrays.train_labels, np.repeat(np.arange(10), 2))
    assert np.array_equal(arrays.test_images, test.reshape(10, 32, 32, 3).transpose(0, 3, 1, 2))


def test_folder_without_a_split_is_split_and_resized(tmp_path: Path) -> None:
    images = write_folder(tmp_path, side=20)
    (tmp_path / "class0" / ".hidden").write_text("left alone")
    Image.fromarray(images[3, 0, :, :, 0]).save(tmp_path / "class3" / "000.png")  # a gray file among colour ones
    arrays = load_images(f"own={tmp_path}")
    assert arrays.train_images.shape == (40, 3, 32, 32)
    assert np.array_equal(arrays.test_images, prepare("x", images[:, 4]))
    assert np.array_equal(arrays.train_images[12, 2], prepare("x", images[3, :1, :, :, 0])[0, 0])


@pytest.mark.parametrize("size", [(1, 40), (3, 40), (3, 3), (40, 1), (40, 3)])
def test_images_of_few_pixels_keep_their_channels(tmp_path: Path, size: tuple[int, int]) -> None:
    write_folder(tmp_path)
    image = some_images(*size, 3)
    Image.fromarray(image).save(tmp_path / "class0" / "000.png")
    planes = load_images(f"own={tmp_path}").train_images[0]
    assert np.array_equal(planes, np.stack([prepare("x", image[None, :, :, c])[0, 0] for c in range(3)]))


# What a viewer shows of a file with each orientation, by the TIFF standard: where its first row and first column lie.
UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_as_their_exif_orientation_says(tmp_path: Path, orientation: int) -> None:
    write_folder(tmp_path)
    image, exif = some_images(20, 32, 3), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "class0" / "000.png", exif=exif)
    upright = np.ascontiguousarray(UPRIGHT[orientation](image)).transpose(2, 0, 1)
    assert np.array_equal(load_images(f"own={tmp_path}").train_images[0], prepare("x", upright[None])[0])


@pytest.mark.parametrize("file_name", [b"photos-\xff", b"a|b", b"a\nb", b"a\x1b[8mb", "a\u2028b".encode()])
def test_names_that_a_dataset_cannot_record_are_refused(tmp_path: Path, file_name: bytes) -> None:
    folder = tmp_path / os.fsdecode(file_name)
    write_folder(folder)
    with pytest.raises(BuildError, match=r"own: rename '.*a dataset records this name, in UTF-8"):
        load_images(f"own={folder}")
    spec = save(folder.with_name(f"{folder.name}.npz"), images=some_images(50, 32, 32), labels=labels(50))
    with pytest.raises(BuildError, match=r"own: rename '.*a dataset records this name, in UTF-8"):
        load_images(spec)


def test_the_name_of_a_folder_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "schöne bilder")
    monkeypatch.chdir(tmp_path / "schöne bilder")
    for spec in (f"own={tmp_path / 'schöne bilder'}", "own=.", "own=../schöne bilder/"):
        assert load_images(spec).source == "folder schöne bilder, split 80/20 by position in each class"
    code = "import sys; from builders.images.sources import load_images; print(ascii(load_images(sys.argv[1]).source))"
    locale = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, "own=" + str(tmp_path / "schöne bilder")],
        cwd=Path(__file__).parents[3],
        env=locale,
        capture_output=True,
        check=False,
    )
    assert done.stdout.startswith(rb"'folder sch\xf6ne bilder, split"), done.stderr


def test_folder_of_nine_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, n_classes=9)
    with pytest.raises(BuildError, match=r"holds 9 class folders.*exactly ten"):
        load_images(f"own={tmp_path}")


def test_folder_with_other_test_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 1)
    write_folder(tmp_path / "test", 1)
    (tmp_path / "test" / "class0").rename(tmp_path / "test" / "other")
    with pytest.raises(BuildError, match="different class folders"):
        load_images(f"own={tmp_path}")


def test_empty_class_folder(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for path in (tmp_path / "class4").iterdir():
        path.unlink()
    with pytest.raises(BuildError, match="no training images of class 4"):
        load_images(f"own={tmp_path}")


def test_files_that_are_no_images(tmp_path: Path) -> None:
    write_folder(tmp_path)
    truncate(tmp_path / "class4" / "002.png")
    with pytest.raises(BuildError, match=r"002\.png cannot be read"):
        load_images(f"own={tmp_path}")
    (tmp_path / "class2" / "notes.txt").write_text("x")
    with pytest.raises(BuildError, match=r"notes\.txt is no image"):
        load_images(f"own={tmp_path}")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "class0" / "000.png")
    with pytest.raises(BuildError, match="8 bits a channel"):
        load_images(f"own={tmp_path}")


# --- limiting


def test_limit_keeps_the_first_of_each_class_in_order() -> None:
    digits = load_images("digits")
    small = limit_images(digits, 50, 20)
    assert np.bincount(small.train_labels).tolist() == [5] * 10 and np.bincount(small.test_labels).tolist() == [2] * 10
    keep = [i for i, label in enumerate(digits.train_labels) if (digits.train_labels[:i] == label).sum() < 5]
    assert np.array_equal(small.train_images, digits.train_images[keep])
    assert small.train_images.strides[1] == 0 and "first 5 train images of each class" in small.source
    assert limit_images(digits) == digits


def test_wrong_limits() -> None:
    for n in (45, 0):
        with pytest.raises(BuildError, match=rf"positive multiple of 10, got {n}"):
            ImageOptions(sources=("digits",), n_test=n)
    with pytest.raises(BuildError, match="need 36 of each class, class 2 has 35"):
        limit_images(load_images("digits"), n_test=360)
