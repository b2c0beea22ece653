"""A user's own images: an .npz file or a folder of image files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from builders.images.arrays import SIDE, ImageArrays, Labelled, image_arrays, prepare, split_image_arrays
from nws_data.errors import BuildError
from nws_data.space.architecture import N_CLASSES

_SPLIT_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_WHOLE_KEYS = ("images", "labels")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # of others one, EPS, runs a program of the system
_MAX_PIXELS = 40_000_000  # some kilobytes can stand for gigabytes


def load_npz(name: str, path: Path) -> ImageArrays:
    """Load ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or ``images``, ``labels`` (split 80/20).

    Shapes as in :func:`builders.images.arrays.prepare`. Raises ``BuildError`` for a damaged file or other keys.
    """
    source = f"file {_recorded(name, path)}"
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise BuildError(f"{name}: {path} is a single array; save an .npz with the arrays {', '.join(_WHOLE_KEYS)}")
        with file:
            arrays, found = {key: file[key] for key in (*_SPLIT_KEYS, *_WHOLE_KEYS) if key in file.files}, file.files
    except BuildError:
        raise
    except Exception as error:  # a damaged file makes numpy raise whatever there is
        raise BuildError(f"{name}: {path} cannot be read as .npz ({type(error).__name__}); is it one, and whole?") from error
    if all(key in arrays for key in _SPLIT_KEYS):
        train, test = (arrays["train_images"], arrays["train_labels"]), (arrays["test_images"], arrays["test_labels"])
        return image_arrays(name, train, test, source)
    if all(key in arrays for key in _WHOLE_KEYS):
        images, labels = arrays["images"], arrays["labels"]
        if images.ndim == 0 or labels.shape != images.shape[:1]:
            raise BuildError(f"{name}: images {images.shape} and labels {labels.shape}; give one label for each image")
        return split_image_arrays(name, images, labels, source)
    raise BuildError(
        f"{name}: {path} holds the arrays {', '.join(found) or 'none'}; "
        f"it needs {', '.join(_SPLIT_KEYS)}, or {', '.join(_WHOLE_KEYS)} (split 80/20)"
    )


def load_folder(name: str, folder: Path) -> ImageArrays:
    """Load ``train/CLASS/*`` and ``test/CLASS/*``, or ``CLASS/*`` (split 80/20); labels are the sorted class names' ranks.

    Every image is turned as its EXIF orientation says, converted to RGB and resized on its own. Raises ``BuildError`` for
    other than ten classes, classes that differ between train and test, and files that are no images.
    """
    source = f"folder {_recorded(name, folder)}"
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        classes = _classes(name, folder / "train")
        if _classes(name, folder / "test") != classes:
            raise BuildError(
                f"{name}: {folder / 'train'} and {folder / 'test'} hold different class folders; make them equal"
            )
        train, test = (_read_classes(name, folder / part, classes) for part in ("train", "test"))
        return image_arrays(name, train, test, source)
    return split_image_arrays(name, *_read_classes(name, folder, _classes(name, folder)), source)


def _recorded(name: str, path: Path) -> str:
    """Return a file's name for the dataset's record; raises ``BuildError`` where JSON and Markdown tables cannot hold it."""
    text = os.fsencode(path.absolute().name).decode(errors="surrogateescape")  # UTF-8, whatever the locale says
    if not text.isprintable() or "|" in text:
        raise BuildError(f"{name}: rename {text!r}: a dataset records this name, in UTF-8, without control characters and |")
    return text


def _classes(name: str, folder: Path) -> list[str]:
    classes = sorted(path.name for path in _listed(name, folder) if path.is_dir())
    if len(classes) != N_CLASSES:
        listed = f" ({', '.join(classes[:12])})" if classes else ""
        raise BuildError(
            f"{name}: {folder} holds {len(classes)} class folders{listed}; an image set has exactly ten, as CLASS/* or as "
            "train/CLASS/* and test/CLASS/*"
        )
    return classes


def _listed(name: str, folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise BuildError(f"{name}: {folder} cannot be read ({error.strerror}); check its permissions") from error


def _read_classes(name: str, folder: Path, classes: list[str]) -> Labelled:
    """Return uint8 ``(N, 3, 32, 32)`` and labels of all files, class by class, each class sorted by file name."""
    images, labels = [np.empty((0, 3, SIDE, SIDE), np.uint8)], []
    for label, class_name in enumerate(classes):
        for path in sorted(_listed(name, folder / class_name)):
            images.append(prepare(name, _read_image(name, path).transpose(2, 0, 1)[None]))
            labels.append(label)
    return np.concatenate(images), np.array(labels, dtype=np.int64)


def _read_image(name: str, path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        raise BuildError(f"{name}: {path} is no image; class folders may hold {', '.join(_SUFFIXES)} only")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise BuildError(f"{name}: {path} has more than {_MAX_PIXELS:,} pixels; scale it down")
            if image.mode.startswith(("I", "F")):
                raise BuildError(f"{name}: {path} has mode {image.mode}; convert it to 8 bits a channel")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except BuildError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise whatever there is
        raise BuildError(f"{name}: {path} cannot be read ({error}); replace or remove it") from error
