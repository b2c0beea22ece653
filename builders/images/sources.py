"""Where images come from: the five sets of the paper through torchvision, scikit-learn's digits, a file or a folder.

MNIST and Fashion-MNIST without the first 5,000 training images, as the original's reader has them; SVHN without the extra
images, the labelled images of STL-10. Nothing published tells whether the original took the first 45,000 of CIFAR-10, and
3x3 means of STL-10, as is done here. Everything becomes uint8 3x32x32.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from builders.images.arrays import ImageArrays, image_arrays, shrink_by_means, split_image_arrays
from builders.images.files import load_folder, load_npz
from nws_data.errors import BuildError, one_of
from nws_data.home import expanded, user_cache
from nws_data.space.image_sets import RESERVED

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


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
    """Load one image set: a name in :data:`SOURCES`, ``NAME=FILE.npz`` or ``NAME=FOLDER``.

    ``root`` is torchvision's folder, by default :func:`default_image_root`; with ``download`` it fetches what is missing.

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


@dataclass(frozen=True)
class _TorchvisionSet:
    class_name: str
    files: str  # below torchvision's root folder
    parts: tuple[dict[str, Any], dict[str, Any]]  # the class's arguments for training and test images
    labels: str  # name of the attribute
    kept: slice  # of the training images
    source: str


_BY_TRAIN, _BY_SPLIT = ({"train": True}, {"train": False}), ({"split": "train"}, {"split": "test"})
_FROM_5000, _ALL = slice(5000, None), slice(None)
TORCHVISION = {
    "mnist": _TorchvisionSet("MNIST", "MNIST/raw", _BY_TRAIN, "targets", _FROM_5000, "train[5000:], bilinear from 28x28"),
    "cifar10": _TorchvisionSet("CIFAR10", "cifar-10-batches-py", _BY_TRAIN, "targets", slice(45000), "train[:45000]"),
    "svhn": _TorchvisionSet("SVHN", "{split}_32x32.mat", _BY_SPLIT, "labels", _ALL, "no extra images"),
    "stl10": _TorchvisionSet("STL10", "stl10_binary", _BY_SPLIT, "labels", _ALL, "labelled images, 3x3 means"),
    "fashion_mnist": _TorchvisionSet(
        "FashionMNIST", "FashionMNIST/raw", _BY_TRAIN, "targets", _FROM_5000, "train[5000:], bilinear from 28x28"
    ),
}


def _torchvision(name: str, root: Path | None, download: bool) -> ImageArrays:
    folder, item, parts = root or default_image_root(), TORCHVISION[name], []
    try:
        from torchvision import datasets
    except ImportError as error:
        raise BuildError(f"image set {name} needs torchvision: pip install 'nws-data[build]'") from error
    for arguments in item.parts:
        try:
            data = getattr(datasets, item.class_name)(folder, download=download, **arguments)
        except Exception as error:  # a damaged file makes it raise whatever there is
            files = folder / item.files.format(**arguments)
            state, advice = "is not there", "pass --download to let torchvision fetch it"
            if files.exists():
                state, advice = "is damaged or incomplete", "remove it and pass --download"
            if download:
                advice = "check the network, and remove it if it is damaged"
            raise BuildError(
                f"image set {name}: {files} {state} (torchvision: {error or type(error).__name__}); {advice}, or give the "
                "folder that holds it with --image-root"
            ) from error
        parts.append((np.asarray(data.data), np.asarray(getattr(data, item.labels))))
    train, test = (parts[0][0][item.kept], parts[0][1][item.kept]), parts[1]
    if name == "stl10":
        train, test = (shrink_by_means(train[0]), train[1]), (shrink_by_means(test[0]), test[1])
    return image_arrays(name, train, test, f"torchvision {item.class_name}, {item.source}")


def _digits(root: Path | None, download: bool) -> ImageArrays:
    """Load scikit-learn's 1,797 handwritten digits (8x8, values 0..16), which need no files: 1,438 train and 359 test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BuildError("image set digits needs scikit-learn: pip install 'nws-data[build]'") from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return split_image_arrays("digits", images, digits.target, "scikit-learn load_digits, bilinear from 8x8")


SOURCES: dict[str, Callable[[Path | None, bool], ImageArrays]] = {
    **{name: partial(_torchvision, name) for name in TORCHVISION},
    "digits": _digits,
}
"""Loaders by name; each takes (torchvision's root folder or None, download). To add a source, add a row."""
