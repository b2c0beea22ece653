"""Proof from weights: stored snapshots as live networks, evaluated on the images that the dataset was built with."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import nws_data
from builders.images.prepare import prepare_recorded, recorded_images
from builders.recipe.augmentation import to_float
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from nws_data.progress import progress_bar
from nws_data.read.dataset import NWSDataset

_CHUNK = 500  # images
_ROUNDING = 1e-4
"""Of the largest output of an image: outputs that are closer may change places by rounding, as equal ones do."""


@dataclass(frozen=True)
class Rescore:
    """One snapshot, evaluated again on all test images of its set."""

    training: str
    snapshot: int
    image_set: str
    n_images: int
    n_recorded: int  # right ones, by the recorded test accuracy
    n_right: int  # right ones here
    n_close: int  # images whose two largest outputs differ by no more than rounding

    @property
    def agrees(self) -> bool:
        """Whether the recorded number follows from the weights: it differs from ours by close images at most."""
        return abs(self.n_recorded - self.n_right) <= self.n_close

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return self.__dict__ | {"agrees": self.agrees}


def rescore(
    folder: Path,
    n: int,
    sources: Sequence[str] | None = None,
    root: Path | None = None,
    *,
    download: bool = False,
    seed: int = 0,
) -> list[Rescore]:
    """Evaluate random snapshots of a dataset as live networks and compare with the recorded test accuracies.

    The networks are those of ``nws_data.load_network``, which shares no code with the evaluation of a build: batch norm is
    not folded. Snapshots with values that are not finite are left out.

    Args:
        folder: the dataset; shards that are not there are left out.
        n: how many snapshots, of all populations together.
        sources: where the images are, as ``--images`` of ``nws build``; by default as the dataset records them.
        root: torchvision's folder; by default that of ``nws build``.
        download: let torchvision download what is missing.
        seed: of the choice of snapshots.

    Raises:
        BuildError: an image set that cannot be had or differs from that of the dataset, accuracies that were not measured
            this way, ``n`` below 1.
    """
    if n < 1:
        raise BuildError(f"--rescore must be at least 1 snapshot, got {n}")
    manifest = Manifest.load(folder)
    for name, entry in manifest.populations.items():
        if "evaluation" in entry.plan:
            raise BuildError(
                f"population {name}: its accuracies were measured as {entry.plan['evaluation']}, on augmented images with "
                "statistics of batches, which the weights alone do not give again"
            )
    chosen, found = _chosen(folder, manifest, n, seed), []
    with progress_bar(total=n, unit=" snapshots") as bar, tempfile.TemporaryDirectory(prefix="nws-rescore-") as temporary:
        for name in dict.fromkeys(rows["dataset"][i] for rows, i in chosen):
            images = replace(recorded_images(manifest, name, sources), root=root, download=download)
            bank = prepare_recorded(Path(temporary), manifest, name, images)
            for rows, i in chosen:
                if rows["dataset"][i] == name:
                    found.append(_score(rows, i, name, bank.images(name, "test"), bank.labels(name, "test")))
                    bar.update()
    return found


def _chosen(folder: Path, manifest: Manifest, n: int, seed: int) -> list[tuple[NWSDataset, int]]:
    """Return the chosen of all finite snapshots, each as a population's rows and its place in them, in their order."""
    data = [nws_data.open(folder, name).select(finite=True) for name in manifest.populations]  # type: ignore[arg-type]
    places = [(rows, i) for rows in data for i in range(len(rows))]
    return [places[k] for k in sorted(np.random.default_rng(seed).permutation(len(places))[:n])]


@torch.inference_mode()
def _score(rows: NWSDataset, row: int, name: str, images: Tensor, labels: Tensor) -> Rescore:
    network = rows.model(row)
    n_right = n_close = 0
    for raw, right in zip(images.split(_CHUNK), labels.split(_CHUNK), strict=True):
        outputs = network(to_float(raw))
        first, second = outputs.topk(2).values.unbind(1)
        n_right += int((outputs.argmax(1) == right).sum())
        n_close += int((first - second <= _ROUNDING * outputs.abs().amax(1)).sum())
    return Rescore(
        training=str(rows["training"][row]),
        snapshot=int(rows["snapshot"][row]),
        image_set=name,
        n_images=len(images),
        n_recorded=round(float(rows["test_accuracy"][row]) * len(images)),
        n_right=n_right,
        n_close=n_close,
    )


def format_rescores(found: Sequence[Rescore]) -> str:
    """Return the comparison for people: a line for what does not agree, and a summary."""
    lines = [
        f"  {r.training} snapshot {r.snapshot}: {100 * r.n_recorded / r.n_images:.2f} % recorded, "
        f"{100 * r.n_right / r.n_images:.2f} % of {r.n_images:,} images of {r.image_set} here"
        for r in found
        if not r.agrees
    ]
    n_same = sum(r.n_recorded == r.n_right for r in found)
    n_agree = sum(r.agrees for r in found)
    lines.append(
        f"{n_agree:,} of {len(found):,} snapshots, as live networks, have the recorded test accuracy"
        f" ({n_same:,} to the image, {n_agree - n_same:,} but for outputs that are equal up to rounding)"
    )
    return "\n".join(lines)
