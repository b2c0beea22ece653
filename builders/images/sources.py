"""Where images come from: the five sets of the paper through torchvision, scikit-learn's digits, a file or a folder.

MNIST and Fashion-MNIST without the first 5,000 training images, as the original's reader has them; SVHN without the extra
images, the labelled images of STL-10. Nothing published tells whether the original took the first 45,000 of CIFAR-10, and
3x3 means of STL-10, as is done here. Everything becomes uint8 3x32x32.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from builders.images.arrays import ImageArrays, Labelled, image_arrays, limit_images, shrink_by_means, split_by_position
from builders.images.files import PARSER_ERRORS, load_folder, load_npz
from nws_data.errors import BuildError, one_of
from nws_data.home import expanded, user_cache
from nws_data.space.image_sets import RESERVED

__all__ = ["SOURCES", "ImageArrays", "default_image_root", "image_set_name", "limit_images", "load_images"]

MNIST_SKIPPED = 5000
"""First training images of MNIST and Fashion-MNIST that the original's reader set apart."""
CIFAR10_KEPT = 45000
"""Training images of CIFAR-10 that are used, from the first on."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")

Opener = Callable[..., Any]
"""Opens a torchvision dataset by class name and arguments."""


def default_image_root() -> Path:
    """Return the folder that torchvision's files lie in unless another is given; raises ``NWSError`` without a home."""
    return user_cache() / "images"


def image_set_name(spec: str) -> str:
    """Return the name in a spec, ``NAME`` or ``NAME=PATH``; raises ``BuildError`` for one that nobody knows."""
    name, has_path, path = spec.partition("=")
    if has_path:
        if not _NAME.fullmatch(name) or not path or name in RESERVED:
            raise BuildError(
                f"image set {spec!r}: a name has up to 100 lower-case letters, digits, - and _, as in cells=cells.npz, and "
                f"is none of {', '.join(RESERVED)}"
            )
    elif name not in SOURCES:
        raise BuildError(f"image set: {one_of(name, SOURCES)}, or give your own as NAME=FILE.npz or NAME=FOLDER")
    return name


def load_images(spec: str, root: Path | None = None, download: bool = False) -> ImageArrays:
    """Load one image set.

    Args:
        spec: a name in :data:`SOURCES`, ``NAME=FILE.npz`` or ``NAME=FOLDER``.
        root: torchvision's root folder; default :func:`default_image_root`. Not used by digits, files and folders.
        download: let torchvision download what is missing.

    Raises:
        BuildError: an unknown name, missing or damaged files, or images that are no set of ten classes.
    """
    name = image_set_name(spec)
    if "=" not in spec:
        return SOURCES[name](root, download)
    path = expanded(spec.partition("=")[2])
    if path.is_dir():
        return load_folder(name, path)
    if path.is_file():
        return load_npz(name, path)
    raise BuildError(f"image set {name}: {path} does not exist; give an .npz file or a folder of images")


def _torchvision(name: str, files: str, root: Path | None, download: bool) -> Opener:
    """Return a function that opens a torchvision dataset under ``root``; it raises ``BuildError`` when it cannot."""
    folder = root or default_image_root()
    try:
        from torchvision import datasets
    except ImportError as error:
        raise BuildError(f"image set {name} needs torchvision: pip install 'nws-data[build]'") from error

    def opened(class_name: str, **arguments: Any) -> Any:
        try:
            return getattr(datasets, class_name)(folder, download=download, **arguments)
        except PARSER_ERRORS as error:
            there = (folder / files).exists()
            state = "is damaged or incomplete" if there else "is not there"
            advice = "remove it and pass --download" if there else "pass --download to let torchvision fetch it"
            if download:
                advice = "check the network, and remove it if it is damaged"
            raise BuildError(
                f"image set {name}: {folder / files} {state} (torchvision: {error or type(error).__name__}); "
                f"{advice}, or give the folder that holds it with --image-root"
            ) from error

    return opened


def _mnist_like(name: str, class_name: str) -> Callable[[Path | None, bool], ImageArrays]:
    """Return the loader of MNIST or Fashion-MNIST: training images are file positions 5,000-59,999."""

    def load(root: Path | None, download: bool) -> ImageArrays:
        opened = _torchvision(name, f"{class_name}/raw", root, download)
        train, test = (opened(class_name, train=train) for train in (True, False))
        return image_arrays(
            name,
            (train.data.numpy()[MNIST_SKIPPED:], train.targets.numpy()[MNIST_SKIPPED:]),
            (test.data.numpy(), test.targets.numpy()),
            f"torchvision {class_name}, train[{MNIST_SKIPPED}:], bilinear from 28x28",
        )

    return load


def _cifar10(root: Path | None, download: bool) -> ImageArrays:
    opened = _torchvision("cifar10", "cifar-10-batches-py", root, download)
    train, test = (opened("CIFAR10", train=train) for train in (True, False))
    kept: Labelled = (train.data[:CIFAR10_KEPT], np.array(train.targets[:CIFAR10_KEPT]))
    source = f"torchvision CIFAR10, train[:{CIFAR10_KEPT}]"
    return image_arrays("cifar10", kept, (test.data, np.array(test.targets)), source)


def _svhn(root: Path | None, download: bool) -> ImageArrays:
    parts = []
    for split in ("train", "test"):
        data = _torchvision("svhn", f"{split}_32x32.mat", root, download)("SVHN", split=split)
        parts.append((data.data, data.labels))
    return image_arrays("svhn", parts[0], parts[1], "torchvision SVHN, no extra images")


def _stl10(root: Path | None, download: bool) -> ImageArrays:
    opened = _torchvision("stl10", "stl10_binary", root, download)
    data = [opened("STL10", split=split) for split in ("train", "test")]
    parts = [(shrink_by_means(part.data), part.labels) for part in data]
    return image_arrays("stl10", parts[0], parts[1], "torchvision STL10, labelled images, 3x3 means")


def _digits(root: Path | None, download: bool) -> ImageArrays:
    """Load scikit-learn's 1,797 handwritten digits (8x8, values 0..16), which need no files: 1,438 train and 359 test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BuildError("image set digits needs scikit-learn: pip install 'nws-data[build]'") from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, test = split_by_position(images, digits.target)
    return image_arrays(
        "digits", train, test, "scikit-learn load_digits, bilinear from 8x8, split 80/20 by position in each class"
    )


SOURCES: dict[str, Callable[[Path | None, bool], ImageArrays]] = {
    "mnist": _mnist_like("mnist", "MNIST"),
    "cifar10": _cifar10,
    "svhn": _svhn,
    "stl10": _stl10,
    "fashion_mnist": _mnist_like("fashion_mnist", "FashionMNIST"),
    "digits": _digits,
}
"""Loaders by name; each takes (torchvision's root folder or None, download). To add a source, add a row."""
