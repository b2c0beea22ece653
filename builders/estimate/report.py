"""An estimate as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from builders.estimate.estimate import Estimate
from builders.estimate.image_counts import ImageCounts
from builders.estimate.speed import Speed
from builders.estimate.work import MEAN_EPOCHS, Work
from builders.recipe.stopping import MIN_EPOCH_CAP
from nws_data.terminal import align


def to_dict(found: Estimate) -> dict[str, Any]:
    """Return the estimate as JSON values: seconds, bytes, counts."""
    return {
        "epochs": found.epochs,
        "epoch_cap": found.epoch_cap,
        "precision": found.precision,
        "image_sets": {
            s.name: {"n_train": s.n_train, "n_test": s.n_test, "rarest": s.rarest, "known": s.known}
            for s in found.image_sets
        },
        "populations": {
            item.population: {
                "n_trainings": item.n_trainings,
                "n_there": item.n_there,
                **_work(item.work),
                "wall_s": item.wall_s,
                "n_shards": item.n_shards,
                "nbytes": item.nbytes,
                "image_sets": {name: _work(work) for name, work in item.image_sets.items()},
                "tiers": {
                    tier.name: {**_work(tier.work), "n_shards": tier.n_shards, "nbytes": tier.nbytes} for tier in item.tiers
                },
            }
            for item in found.populations
        },
        "wall_s": found.wall_s,
        "relative_error": found.speed.error if found.speed else None,
        "calibration": _calibration(found.speed),
        "disk_bytes": found.disk_bytes,
        "staging_bytes": found.staging_bytes,
        "images_bytes": found.images_bytes,
        "n_workers": found.n_workers,
    }


def _work(work: Work) -> dict[str, Any]:
    values = {"n_to_train": work.n_trainings, "train_images": work.train_images, "scored_images": work.scored_images}
    return values | {"flop": work.flop, "core_s": work.seconds or None}


def _calibration(speed: Speed | None) -> dict[str, Any] | None:
    if speed is None:
        return None
    return {"n_shapes": speed.n_samples, "scatter": speed.scatter, "busy": speed.busy, "start_s": speed.start_s}


def format_estimate(found: Estimate) -> str:
    """Return short aligned tables and what they rest on."""
    lines = [*align(_population_rows(found)), "", *align(_image_set_rows(found)), "", *align(_tier_rows(found)), ""]
    return "\n".join([*lines, *_notes(found)])


def _population_rows(found: Estimate) -> list[list[str]]:
    timed = found.speed is not None
    rows = [["population", "trainings", "to train", "FLOP", *(["time"] if timed else []), "GB", "shards"]]
    for item in found.populations:
        times = [_time(item.wall_s, found.speed)] if timed else []
        work = _cells(item.work)
        rows.append([item.population, f"{item.n_trainings:,}", *work, *times, _gb(item.nbytes), f"{item.n_shards:,}"])
    if len(found.populations) > 1:
        work = _cells(_sum(item.work for item in found.populations))
        times = [_time(found.wall_s, found.speed)] if timed else []
        n, nbytes, shards = (
            sum(getattr(p, name) for p in found.populations) for name in ("n_trainings", "nbytes", "n_shards")
        )
        rows.append(["all", f"{n:,}", *work, *times, _gb(nbytes), f"{shards:,}"])
    return rows


def _image_set_rows(found: Estimate) -> list[list[str]]:
    """Return a row for each image set, all populations together."""
    share = "time %" if found.speed else "FLOP %"
    rows = [["image set", "train", "test", "an epoch", "to train", "trained on", "scored", share]]
    works = {s.name: _sum(item.image_sets.get(s.name, Work()) for item in found.populations) for s in found.image_sets}
    everything = _sum(works.values())
    for s in found.image_sets:
        work = works[s.name]
        part = work.seconds / everything.seconds if everything.seconds else work.flop / (everything.flop or 1)
        sizes = [f"{s.n_train:,}", f"{s.n_test:,}", f"{s.epoch_images(32):,.0f}"]
        amounts = [f"{work.n_trainings:,}", f"{work.train_images:.2e}", f"{work.scored_images:.2e}"]
        rows.append([s.name, *sizes, *amounts, f"{100 * part:.0f}"])
    return rows


def _tier_rows(found: Estimate) -> list[list[str]]:
    """Return a row for each tier of each population, trained from nothing."""
    timed = found.speed is not None
    rows = [["tier", "population", "to train", "FLOP", *(["time"] if timed else []), "GB", "shards"]]
    for item in found.populations:
        for tier in item.tiers:
            times = [_time(tier.work.seconds / found.n_workers, found.speed)] if timed else []
            cells = [*_cells(tier.work), *times, _gb(tier.nbytes), f"{tier.n_shards:,}"]
            rows.append([tier.name, item.population, *cells])
    return rows


def _notes(found: Estimate) -> list[str]:
    speed = found.speed
    lines = [
        f"{found.precision}, {_epochs_text(found)}",
        f"image sets: {_sources(found.image_sets)}",
        f"disk: {_size(found.disk_bytes)} of shards in the end; while building up to {_size(found.staging_bytes)} "
        f"of finished trainings beside them and {_size(found.images_bytes)} of images",
    ]
    work = _sum(item.work for item in found.populations)
    lines.append(f"work: {work.train_images:.2e} images x models trained on, {work.scored_images:.2e} scored")
    if speed is None:
        return [*lines, "time: not calibrated" if work.n_trainings else "time: all trainings are there, nothing to do"]
    rate = work.train_images / work.seconds * found.n_workers if work.seconds else 0.0
    lines.append(
        f"time: of {_workers(found.n_workers)} on this machine ({rate:,.0f} images x models/s, evaluations included), from "
        f"{speed.n_samples} trained shapes; one differs from the fit by {speed.scatter:.0%}, their sum by about "
        f"{speed.error:.0%}"
    )
    if speed.busy > 1.1:
        lines.append(
            f"other programs took {1 - 1 / speed.busy:.0%} of the cores meanwhile: the times are for a free machine, at "
            f"this load {_time((found.wall_s or 0.0) * speed.busy, speed)}"
        )
    return lines


def _epochs_text(found: Estimate) -> str:
    if found.epoch_cap <= MIN_EPOCH_CAP:
        return f"{found.epochs:.0f} epochs a training, which is the cap"
    half, double = found.epochs / 2, min(float(found.epoch_cap), 2 * found.epochs)
    given = "as told" if found.epochs != min(MEAN_EPOCHS, found.epoch_cap) else "assumed, --epochs for another number"
    text = f"{found.epochs:g} epochs a training on average ({given}; the cap is {found.epoch_cap:,})"
    if found.wall_s is None:
        return text
    times = [span_text(t, t) for t in (found.wall_s / 2, found.wall_s * double / found.epochs)]
    return f"{text}: {times[0]} at {half:g}, {times[1]} at {double:g}"


def _workers(n: int) -> str:
    return f"{n:,} worker{'' if n == 1 else 's'}"


def _sources(counts: Sequence[ImageCounts]) -> str:
    known = [s.name for s in counts if s.known]
    counted = [s.name for s in counts if not s.known]
    said = [f"sizes of {', '.join(known)} as published"] if known else []
    return "; ".join([*said, *([f"{', '.join(counted)} counted"] if counted else [])])


def _cells(work: Work) -> list[str]:
    return [f"{work.n_trainings:,}", f"{work.flop:.2e}"]


def _time(seconds: float | None, speed: Speed | None) -> str:
    """Return a range of times with its unit: two standard errors to both sides."""
    if seconds is None or speed is None:
        return ""
    return span_text(seconds * max(0.0, 1 - 2 * speed.error), seconds * (1 + 2 * speed.error))


def span_text(low: float, high: float) -> str:
    """Return a range of seconds for people, such as ``12 to 15 min`` or ``310 to 390 h``."""
    unit, name = (1, "s") if high < 120 else (60, "min") if high < 7200 else (3600, "h")
    ends = [f"{s / unit:,.0f}" if s / unit >= 10 else f"{s / unit:.1f}" for s in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {name}"


def _size(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:,.0f} MB"


def _gb(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f}" if nbytes >= 1e8 else f"{nbytes / 1e9:.3f}"


def _sum(works: Iterable[Work]) -> Work:
    return sum(works, Work())
