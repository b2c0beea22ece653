"""Image sets in memory: their one form, its checks, resizing, splitting and limiting."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from nws_data.errors import BuildError
from nws_data.space.architecture import IMAGE_SHAPE, N_CLASSES

SIDE = IMAGE_SHAPE[1]

_CHUNK = 4096  # images resized at once: bounds the float32 copies

Labelled = tuple[np.ndarray, np.ndarray]
"""Images in a form that :func:`prepare` takes, and their integer labels ``(N,)``."""


@dataclass(frozen=True)
class ImageArrays:
    """One image set, ready for a bank. Made by :func:`image_arrays`, which checks everything.

    Images are uint8 ``(N, 3, 32, 32)`` (gray sets: one plane, broadcast), labels uint8 ``(N,)`` in 0..9.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str  # where the images come from, in words


def image_arrays(name: str, train: Labelled, test: Labelled, source: str) -> ImageArrays:
    """Check and prepare an image set.

    Raises:
        BuildError: a wrong dtype or shape, unequal counts, no test images, labels outside 0..9, or a class without
            training images.
    """
    labels = [_checked(f"{name} ({part})", *data) for part, data in (("train", train), ("test", test))]
    absent = sorted(set(range(N_CLASSES)) - set(labels[0].tolist()))
    if absent:
        raise BuildError(f"{name}: no training images of class {', '.join(map(str, absent))}; a set needs all of 0..9")
    return ImageArrays(name, prepare(name, train[0]), labels[0], prepare(name, test[0]), labels[1], source)


def _checked(what: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if images.ndim == 0 or len(images) == 0:
        raise BuildError(f"{what}: no images; an image set needs training and test images")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise BuildError(f"{what}: labels must be whole numbers of shape (N,), got {labels.dtype} {labels.shape}")
    if len(images) != len(labels):
        raise BuildError(f"{what}: {len(images)} images but {len(labels)} labels; they must be equally many")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= N_CLASSES:
        raise BuildError(f"{what}: labels must be in 0..{N_CLASSES - 1}, got {low}..{high}; sets have exactly ten classes")
    return labels.astype(np.uint8)


def prepare(name: str, images: np.ndarray) -> np.ndarray:
    """Return images as uint8 ``(N, 3, 32, 32)``: resized bilinearly, gray replicated (a broadcast view).

    Args:
        name: of the set, for messages.
        images: uint8 ``(N, H, W)``, ``(N, 1 or 3, H, W)`` or ``(N, H, W, 3)``, tried in this order.

    Half-pixel centres, antialiased (triangle filter) when an axis shrinks, rounded half to even.
    """
    if images.dtype != np.uint8:
        raise BuildError(f"{name}: images must be uint8 in 0..255, got {images.dtype}; scale and convert them first")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise BuildError(f"{name}: images must be (N, H, W), (N, H, W, 3) or (N, 1 or 3, H, W), got {images.shape}")
    if images.shape[2:] != (SIDE, SIDE):
        images = _resize(images)
    return np.broadcast_to(np.ascontiguousarray(images), (len(images), 3, SIDE, SIDE))


def _resize(images: np.ndarray) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    antialias = max(images.shape[2:]) > SIDE
    out = np.empty((*images.shape[:2], SIDE, SIDE), np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + _CHUNK])).to(torch.float32)
        resized = F.interpolate(chunk, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=antialias)
        out[start : start + _CHUNK] = resized.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return out


def shrink_by_means(images: np.ndarray) -> np.ndarray:
    """Shrink uint8 ``(N, C, 32 k, 32 k)`` to 32x32 by the means of k x k pixels, rounded half to even (STL-10)."""
    k = images.shape[-1] // SIDE
    blocks = images.reshape(*images.shape[:2], SIDE, k, SIDE, k)
    return np.rint(blocks.sum(axis=(3, 5), dtype=np.uint32) / (k * k)).astype(np.uint8)


def split_image_arrays(name: str, images: np.ndarray, labels: np.ndarray, source: str) -> ImageArrays:
    """Return a set that is split by :func:`split_by_position`; raises as :func:`image_arrays`."""
    return image_arrays(name, *split_by_position(images, labels), f"{source}, split 80/20 by position in each class")


def split_by_position(images: np.ndarray, labels: np.ndarray) -> tuple[Labelled, Labelled]:
    """Split 80/20: of each class's images, in file order, the last fifth (rounded) is the test part."""
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        is_test[positions[len(positions) - round(len(positions) / 5) :]] = True
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def limit_images(arrays: ImageArrays, n_train: int | None = None, n_test: int | None = None) -> ImageArrays:
    """Return a class-balanced subset for small machines: the first n / 10 images of each class, in file order.

    Numbers are positive multiples of ten; None keeps all. Raises ``BuildError`` for a class with too few images.
    """
    out, notes = arrays, []
    for part, n in (("train", n_train), ("test", n_test)):
        if n is None:
            continue
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        keep = _first_of_each_class(f"{arrays.name} ({part})", labels, n)
        kept = images[keep]
        if images.strides[1] == 0:  # a broadcast gray plane stays one
            kept = np.broadcast_to(images[:, :1][keep], kept.shape)
        out = replace(out, **{f"{part}_images": kept, f"{part}_labels": labels[keep]})
        notes.append(_limit_note(part, n // N_CLASSES))
    return replace(out, source="; ".join([arrays.source, *notes]))


def _limit_note(part: str, n_each: int | str) -> str:
    return f"first {n_each} {part} images of each class"


def recorded_limits(source: str) -> tuple[int | None, int | None]:
    """Return ``n_train`` and ``n_test`` of :func:`limit_images` as its note in a set's ``source`` tells them."""
    found = [re.search(rf"; {_limit_note(part, '([0-9]+)')}(?:;|$)", source) for part in ("train", "test")]
    n_train, n_test = (N_CLASSES * int(match[1]) if match else None for match in found)
    return n_train, n_test


def _first_of_each_class(what: str, labels: np.ndarray, n: int) -> np.ndarray:
    positions = [np.flatnonzero(labels == label)[: n // N_CLASSES] for label in range(N_CLASSES)]
    for label, found in enumerate(positions):
        if len(found) < n // N_CLASSES:
            raise BuildError(f"{what}: {n} images need {n // N_CLASSES} of each class, class {label} has {len(found)}")
    return np.sort(np.concatenate(positions))
