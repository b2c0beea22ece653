"""The images that a dataset was built with, found again and told by their digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builders.images.arrays import recorded_limits
from builders.images.bank import ImageBank
from builders.images.prepare import ImageOptions, prepare_images
from builders.images.sources import SOURCES, image_set_name
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest


def recorded_images(manifest: Manifest, name: str, sources: Sequence[str] | None = None) -> ImageOptions:
    """Return the options that a dataset records for an image set, as far as it does; ``sources`` is what a person says.

    Raises ``BuildError`` where the images were somebody's own, so that only ``sources`` can say where they are.
    """
    if sources is None and name not in SOURCES:
        raise BuildError(f"{name} is a set of your own; say where it is: --images {name}=FILE.npz")
    source = next(item.source for item in manifest.image_sets if item.name == name)
    n_train, n_test = recorded_limits(source)
    return ImageOptions(sources=tuple(sources or [name]), n_train=n_train, n_test=n_test)


def prepare_recorded(folder: Path, manifest: Manifest, name: str, images: ImageOptions) -> ImageBank:
    """Return a bank in a folder of one image set of a dataset; raises ``BuildError`` unless it has the recorded digest."""
    digest = next(item.digest for item in manifest.image_sets if item.name == name)
    mine = tuple(source for source in images.sources if image_set_name(source) == name)
    found = prepare_images(folder, replace(images, sources=mine))[0].digest if mine else None
    if found != digest:
        what = "differs: give the same --train-images and --test-images" if mine else "is not among --images"
        raise BuildError(f"the dataset was built with image set {name} ({digest[:12]}...), which {what}")
    return ImageBank.open(folder)
