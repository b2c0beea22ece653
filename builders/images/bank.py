"""All images of a build in memory-mapped uint8 files, which every worker process shares.

A bank is a folder with ``bank.json`` (what it holds) and for each set ``images-<sha12>.bin``: training images, training
labels, test images, test labels, one after another. A set whose three channels are equal everywhere is stored as one
plane.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from builders.images.arrays import SIDE, ImageArrays, Labelled, image_arrays
from nws_data.atomic import atomic_file, remove_stale, write_bytes
from nws_data.errors import BuildError, FormatError
from nws_data.space.architecture import N_CLASSES
from nws_data.space.image_sets import ImageSet, threshold_of

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("train", "test")

_JSON = "bank.json"
_IMAGES_AT_ONCE = 5461  # of three planes: 16 MiB


def write_bank(folder: Path | str, sets: Iterable[ImageArrays]) -> list[ImageSet]:
    """Write a bank and return what it holds, as datasets record it; a digest is of a line of the sizes and all bytes.

    Takes one set after another, so that a generator needs the memory of one set. Atomic: the description comes
    last and names files that are complete; other files are removed then.

    Raises:
        BuildError: a disk error such as no space left.
    """
    folder = Path(folder)
    described = [_write_set(folder, arrays) for arrays in sets]
    write_bytes(folder / _JSON, (json.dumps([asdict(item) for item in described], indent=1) + "\n").encode())
    remove_stale(folder)
    for old in folder.glob("images-*.bin"):
        if old.name not in map(_file, described):
            old.unlink()
    return described


def random_bank(folder: Path, sizes: Mapping[str, tuple[int, int]], gray: Collection[str] = ()) -> list[ImageSet]:
    """Write a bank of random pixels, to measure with: speed does not depend on what images show.

    ``sizes`` has the numbers of training and test images by set; those in ``gray`` have one plane.
    """
    generator = np.random.default_rng(0)

    def part(name: str, n: int) -> Labelled:
        return generator.integers(0, 256, (n, 1 if name in gray else 3, SIDE, SIDE), np.uint8), np.arange(n) % N_CLASSES

    sets = (image_arrays(name, part(name, a), part(name, b), "random pixels") for name, (a, b) in sizes.items())
    return write_bank(folder, sets)


def _write_set(folder: Path, arrays: ImageArrays) -> ImageSet:
    gray = _is_gray(arrays)
    channels, n_train, n_test = 1 if gray else 3, len(arrays.train_labels), len(arrays.test_labels)
    digest = hashlib.sha256(f"nws-images/1 {channels} {n_train} {n_test}\n".encode())
    for chunk in _content(arrays, gray):
        digest.update(chunk)
    item = ImageSet(
        name=arrays.name, threshold=threshold_of(arrays.name), source=arrays.source, n_train=n_train, n_test=n_test,
        digest=digest.hexdigest(),
    )  # fmt: skip
    with atomic_file(folder / _file(item)) as stream:
        stream.writelines(_content(arrays, gray))
    return item


def _is_gray(arrays: ImageArrays) -> bool:
    for images in (arrays.train_images, arrays.test_images):
        if images.strides[1] != 0 and not all(np.array_equal(images[:, 0], images[:, c]) for c in (1, 2)):
            return False
    return True


def _content(arrays: ImageArrays, gray: bool) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a set in file order, in pieces."""
    for images, labels in ((arrays.train_images, arrays.train_labels), (arrays.test_images, arrays.test_labels)):
        planes = images[:, :1] if gray else images
        for start in range(0, len(planes), _IMAGES_AT_ONCE):
            yield np.ascontiguousarray(planes[start : start + _IMAGES_AT_ONCE]).data.cast("B")
        yield labels.tobytes()


def _file(item: ImageSet) -> str:
    return f"images-{item.digest[:12]}.bin"


class ImageBank:
    """An open bank. Tensors are views of memory maps; processes share their pages."""

    def __init__(self, folder: Path, sets: Sequence[ImageSet]) -> None:
        import torch

        self.folder = folder
        self.sets = {item.name: item for item in sets}
        self.nbytes = 0
        self._parts: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        for item in sets:
            # Copy-on-write mapping: torch wants writable memory; nothing that a process writes reaches the file or others.
            data = torch.from_numpy(np.memmap(folder / _file(item), np.uint8, "c"))
            self.nbytes += len(data)
            channels = (len(data) // (item.n_train + item.n_test) - 1) // SIDE**2  # of an image with its label
            if channels not in (1, 3) or len(data) != (item.n_train + item.n_test) * (channels * SIDE**2 + 1):
                raise ValueError(f"{_file(item)} has {len(data):,} bytes")
            sizes = [size for n in (item.n_train, item.n_test) for size in (n * channels * SIDE * SIDE, n)]
            train, train_labels, test, test_labels = data.split(sizes)
            self._parts[item.name, "train"] = train.view(-1, channels, SIDE, SIDE), train_labels
            self._parts[item.name, "test"] = test.view(-1, channels, SIDE, SIDE), test_labels

    @classmethod
    def open(cls, folder: Path | str) -> ImageBank:
        """Open a bank that :func:`write_bank` wrote; raises ``BuildError`` when there is none or it is damaged."""
        folder = Path(folder)
        try:
            return cls(folder, [ImageSet(**item) for item in json.loads((folder / _JSON).read_bytes())])
        except (OSError, ValueError, TypeError, FormatError) as error:
            raise BuildError(f"{folder} is no image bank ({error}); write_bank makes one") from error

    def images(self, name: str, part: str) -> Tensor:
        """Return uint8 ``(n, C, 32, 32)`` of part ``"train"`` or ``"test"``; C is 1 for a gray set. A view: do not write."""
        return self._parts[name, part][0]

    def labels(self, name: str, part: str) -> Tensor:
        """Return uint8 ``(n,)`` in 0..9. A view: do not write."""
        return self._parts[name, part][1]
