"""From image options, or from what a dataset records, to a bank: which sets, from where, how many images of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builders.images.arrays import limit_images, recorded_limits
from builders.images.bank import ImageBank, write_bank
from builders.images.sources import SOURCES, image_set_name, load_images
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from nws_data.space.architecture import N_CLASSES
from nws_data.space.image_sets import ImageSet


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Which images to use. Raises ``BuildError`` for an unknown source or one that is named twice."""

    sources: tuple[str, ...]  # see builders/images/sources.py
    root: Path | None = None  # torchvision's root folder; None is the user's cache
    download: bool = False  # let torchvision download what is missing
    n_train: int | None = None  # class-balanced limit a set, None keeps all
    n_test: int | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise BuildError("no image source; give --images, for example --images digits")
        names = [image_set_name(source) for source in self.sources]
        if len(set(names)) < len(names):
            raise BuildError(f"--images names a set twice: {', '.join(names)}; give each once")
        for n in (self.n_train, self.n_test):
            if n is not None and (n <= 0 or n % N_CLASSES):
                raise BuildError(f"the number of images must be a positive multiple of {N_CLASSES}, got {n}")


def prepare_images(folder: Path, options: ImageOptions) -> tuple[ImageSet, ...]:
    """Load the image sets, one after another, into a bank in ``folder``, and return how a dataset records them.

    Raises:
        BuildError: missing or damaged files, images that are no set of ten classes, too few of them, a full disk.
    """
    loaded = (load_images(source, options.root, options.download) for source in options.sources)
    return tuple(write_bank(folder, (limit_images(arrays, options.n_train, options.n_test) for arrays in loaded)))


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
        what = "differs: is it another file, or another number of images?" if mine else "is not among --images"
        raise BuildError(f"the dataset was built with image set {name} ({digest[:12]}...), which {what}")
    return ImageBank.open(folder)
