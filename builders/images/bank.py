"""All images of a build in memory-mapped uint8 files, which every worker process shares.

A bank is a folder with ``bank.json`` (what it holds) and for each set ``images-<sha12>.bin``: training images, training
labels, test images, test labels, one after another. A set whose three channels are equal everywhere is stored as one
plane.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builders.images.arrays import SIDE, ImageArrays
from nws_data.atomic import atomic_file, remove_stale, write_bytes
from nws_data.errors import BuildError, one_of

if TYPE_CHECKING:
    from torch import Tensor

BANK_VERSION = 1
PARTS = ("train", "test")

_JSON = "bank.json"
_WRITE_CHUNK = 1 << 24  # bytes


@dataclass(frozen=True)
class BankedSet:
    """One set in a bank: ``(n, channels, 32, 32)`` images of each part in a file of its own."""

    name: str
    source: str
    channels: int  # 3, or 1 for a gray set
    n_train: int
    n_test: int
    digest: str  # SHA-256 over a line of the sizes, then all bytes of the set

    @property
    def file(self) -> str:
        """Name of the set's file in the bank."""
        return f"images-{self.digest[:12]}.bin"

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return (self.n_train + self.n_test) * (self.channels * SIDE * SIDE + 1)

    def n(self, part: str) -> int:
        """Return the number of images of ``"train"`` or ``"test"``; raises ``BuildError`` for another part."""
        if part not in PARTS:
            raise BuildError(f"part of an image set: {one_of(part, PARTS)}")
        return self.n_train if part == "train" else self.n_test


def write_bank(folder: Path | str, sets: Iterable[ImageArrays]) -> list[BankedSet]:
    """Write a bank, keeping files that hold exactly the wanted images, and return what it holds.

    Takes one set after another, so that a generator needs the memory of one set. Atomic: the description comes
    last and names files that are complete; other files are removed then.

    Raises:
        BuildError: no set, two sets of one name, or a disk error such as no space left.
    """
    folder = Path(folder)
    described: list[BankedSet] = []
    for arrays in sets:
        if arrays.name in [item.name for item in described]:
            raise BuildError(f"a bank needs image sets of different names, got {arrays.name} twice")
        described.append(_write_set(folder, arrays))
    if not described:
        raise BuildError("a bank needs at least one image set, got none")
    content = {"format": "nws-image-bank", "version": BANK_VERSION, "sets": [asdict(item) for item in described]}
    write_bytes(folder / _JSON, (json.dumps(content, indent=1) + "\n").encode())
    remove_stale(folder)
    for old in folder.glob("images-*.bin"):
        if old.name not in [item.file for item in described]:
            old.unlink()
    return described


def _write_set(folder: Path, arrays: ImageArrays) -> BankedSet:
    """Write the file of one set unless it is there."""
    gray = _is_gray(arrays)
    channels, n_train, n_test = 1 if gray else 3, len(arrays.train_labels), len(arrays.test_labels)
    digest = _set_hash(channels, n_train, n_test)
    for chunk in _content(arrays, gray):
        digest.update(chunk)
    item = BankedSet(arrays.name, arrays.source, channels, n_train, n_test, digest.hexdigest())
    if not _is_intact(folder / item.file, item):
        with atomic_file(folder / item.file) as stream:
            stream.writelines(_content(arrays, gray))
    return item


def _is_gray(arrays: ImageArrays) -> bool:
    """Whether all channels are equal in all images of the set."""
    for images in (arrays.train_images, arrays.test_images):
        if images.strides[1] != 0 and not (
            np.array_equal(images[:, 0], images[:, 1]) and np.array_equal(images[:, 0], images[:, 2])
        ):
            return False
    return True


def _content(arrays: ImageArrays, gray: bool) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a set in file order, in pieces."""
    step = max(1, _WRITE_CHUNK // (3 * SIDE * SIDE))
    for images, labels in ((arrays.train_images, arrays.train_labels), (arrays.test_images, arrays.test_labels)):
        planes = images[:, :1] if gray else images
        for start in range(0, len(planes), step):
            yield np.ascontiguousarray(planes[start : start + step]).data.cast("B")
        yield labels.tobytes()


def _set_hash(channels: int, n_train: int, n_test: int) -> Any:
    """Return the SHA-256 object of a set, fed with its sizes."""
    return hashlib.sha256(f"nws-images/{BANK_VERSION} {channels} {n_train} {n_test}\n".encode())


def _is_intact(path: Path, item: BankedSet) -> bool:
    """Whether the file is there with exactly the described content."""
    if not path.is_file() or path.stat().st_size != item.nbytes:
        return False
    digest = _set_hash(item.channels, item.n_train, item.n_test)
    with path.open("rb") as file:
        while chunk := file.read(_WRITE_CHUNK):
            digest.update(chunk)
    return bool(digest.hexdigest() == item.digest)


class ImageBank:
    """An open bank. Tensors are views of memory maps; processes share their pages. Pickles as its path."""

    def __init__(self, folder: Path, sets: Sequence[BankedSet]) -> None:
        self.folder = folder
        self.sets = {item.name: item for item in sets}
        self._bytes = {item.name: _map(folder / item.file, item.nbytes) for item in sets}

    @classmethod
    def open(cls, folder: Path | str) -> ImageBank:
        """Open a bank that :func:`write_bank` wrote; raises ``BuildError`` when there is none or it is damaged."""
        folder = Path(folder)
        try:
            values = json.loads((folder / _JSON).read_bytes())
            if values["version"] != BANK_VERSION:
                raise BuildError(
                    f"{folder} is an image bank of version {values['version']}; this reads {BANK_VERSION}; build it anew"
                )
            return cls(folder, [BankedSet(**item) for item in values["sets"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BuildError(f"{folder} is no image bank ({error}); write_bank makes one") from error

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return ImageBank.open, (self.folder,)

    def __getitem__(self, name: str) -> BankedSet:
        """Return the description of a set; raises ``BuildError`` for an unknown name."""
        if name not in self.sets:
            raise BuildError(f"image set in {self.folder}: {one_of(name, self.sets)}")
        return self.sets[name]

    def images(self, name: str, part: str) -> Tensor:
        """Return uint8 ``(n, C, 32, 32)`` of part ``"train"`` or ``"test"``; C is 1 for a gray set. A view: do not write."""
        item = self[name]
        n, size = item.n(part), item.channels * SIDE * SIDE
        start = 0 if part == "train" else item.n_train * (size + 1)
        return self._bytes[name][start : start + n * size].view(n, item.channels, SIDE, SIDE)

    def labels(self, name: str, part: str) -> Tensor:
        """Return uint8 ``(n,)`` in 0..9. A view: do not write."""
        item = self[name]
        n, size = item.n(part), item.channels * SIDE * SIDE
        start = n * size + (0 if part == "train" else item.n_train * (size + 1))
        return self._bytes[name][start : start + n]

    def verify(self) -> None:
        """Compare every set with its digest; raises ``BuildError`` naming the first that differs."""
        for item in self.sets.values():
            if not _is_intact(self.folder / item.file, item):
                raise BuildError(f"image set {item.name} in {self.folder} is damaged; remove the folder and build it anew")


def _map(path: Path, nbytes: int) -> Tensor:
    """Map a set's file, uint8 ``(nbytes,)``; raises ``BuildError`` when it is missing or of another length."""
    if not path.is_file() or path.stat().st_size != nbytes:
        raise BuildError(
            f"{path} of the image bank is missing or not {nbytes} bytes long; remove its folder and build it anew"
        )
    import torch

    # Copy-on-write mapping: torch wants writable memory; nothing that a process writes reaches the file or others.
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c"))
