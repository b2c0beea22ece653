"""An estimate as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from builders.estimate.estimate import Estimate
from builders.estimate.image_counts import ImageCounts
from builders.estimate.speed import Speed
from builders.estimate.work import MEAN_EPOCHS, Work, total
from builders.recipe.stopping import MIN_EPOCH_CAP
from nws_data.terminal import align

_WORKER_GB = 0.2  # at most, of a worker's own on the CPU: benchmarks/speed/memory.py


def format_estimate(found: Estimate) -> str:
    """Return short aligned tables and what they rest on."""
    tables = (_population_rows(found), _image_set_rows(found), _tier_rows(found))
    return "\n".join([*(line for rows in tables for line in (*align(rows), "")), *_notes(found)])


def _row(names: Sequence[str], found: Estimate, work: Work, seconds: float | None, nbytes: int, n_shards: int) -> list[str]:
    times = [_time(seconds or 0.0, found.speed)] if found.speed else []
    return [*names, f"{work.n_trainings:,}", f"{work.flop:.2e}", *times, _gb(nbytes), f"{n_shards:,}"]


def _population_rows(found: Estimate) -> list[list[str]]:
    rows = [["population", "trainings", "to train", "FLOP", *(["time"] if found.speed else []), "GB", "shards"]]
    items = found.populations
    for name, item in items.items():
        rows.append(_row([name, f"{item.n_trainings:,}"], found, item.work, item.wall_s, item.nbytes, item.n_shards))
    if len(items) > 1:
        n, nbytes, shards = (sum(getattr(p, key) for p in items.values()) for key in ("n_trainings", "nbytes", "n_shards"))
        rows.append(_row(["all", f"{n:,}"], found, _work(found), found.wall_s, nbytes, shards))
    return rows


def _image_set_rows(found: Estimate) -> list[list[str]]:
    """Return a row for each image set, all populations together."""
    share = "time %" if found.speed else "FLOP %"
    rows = [["image set", "train", "test", "an epoch", "to train", "trained on", "scored", share]]
    everything = sum(_share(found, name) for name in found.populations) or 1.0
    for s in found.image_sets:
        work = total(item.image_sets.get(s.name, Work()) for item in found.populations.values())
        part = sum(_share(found, name, s.name) for name in found.populations) / everything
        sizes = [f"{s.n_train:,}", f"{s.n_test:,}", f"{s.epoch_images(32):,.0f}"]
        amounts = [f"{work.n_trainings:,}", f"{work.train_images:.2e}", f"{work.scored_images:.2e}"]
        rows.append([s.name, *sizes, *amounts, f"{100 * part:.0f}"])
    return rows


def _share(found: Estimate, population: str, image_set: str | None = None) -> float:
    """Return the seconds that a population's work takes, or that on an image set; operations without a speed."""
    item = found.populations[population]
    work = item.work if image_set is None else item.image_sets.get(image_set, Work())
    return found.speed.seconds(population, work) if found.speed else work.flop


def _tier_rows(found: Estimate) -> list[list[str]]:
    """Return a row for each tier of each population, trained from nothing."""
    rows = [["tier", "population", "to train", "FLOP", *(["time"] if found.speed else []), "GB", "shards"]]
    for population, item in found.populations.items():
        for name, tier in item.tiers.items():
            seconds = found.speed.seconds(population, tier.work) / found.n_workers if found.speed else None
            rows.append(_row([name, population], found, tier.work, seconds, tier.nbytes, tier.n_shards))
    return rows


def _notes(found: Estimate) -> list[str]:
    speed, work = found.speed, _work(found)
    workers = f"{found.n_workers:,} worker{'' if found.n_workers == 1 else 's'}"
    lines = [
        f"{found.precision}, {_epochs_text(found)}",
        f"image sets: {_sources(found.image_sets)}",
        f"disk: {_gb(found.disk_bytes)} GB of shards in the end; while building up to {_gb(found.staging_bytes)} GB of "
        f"finished trainings beside them and {_gb(found.images_bytes)} GB of images",
        f"memory: {workers} of up to {_WORKER_GB} GB each, and the images",
        f"work: {work.train_images:.2e} images x models trained on, {work.scored_images:.2e} scored",
    ]
    if speed is None:
        return [*lines, "time: not calibrated" if work.n_trainings else "time: all trainings are there, nothing to do"]
    core_s = sum(item.core_s or 0.0 for item in found.populations.values())
    rate = work.train_images / core_s * found.n_workers
    lines.append(
        f"time: of {workers} on this machine ({rate:,.0f} images x models/s, evaluations included), from {speed.n_shapes} "
        f"trained shapes; one differs from the mean by {speed.scatter:.0%}, their sum by about {speed.error:.0%}"
    )
    if speed.busy > 1.1:
        lines.append(
            f"other programs took {1 - 1 / speed.busy:.0%} of the cores meanwhile: the times are for a free machine, at "
            f"this load {_time((found.wall_s or 0.0) * speed.busy, speed)}"
        )
    return lines


def _work(found: Estimate) -> Work:
    return total(item.work for item in found.populations.values())


def _epochs_text(found: Estimate) -> str:
    if found.epoch_cap <= MIN_EPOCH_CAP:
        return f"{found.epochs:.0f} epochs a training, which is the cap"
    given = "as told" if found.epochs != min(MEAN_EPOCHS, found.epoch_cap) else "assumed, --epochs for another number"
    text = f"{found.epochs:g} epochs a training on average ({given}; the cap is {found.epoch_cap:,})"
    if found.wall_s is None:
        return text
    others = (found.epochs / 2, min(float(found.epoch_cap), 2 * found.epochs))
    times = (span_text(*[found.wall_s * epochs / found.epochs] * 2) for epochs in others)
    return f"{text}: {', '.join(f'{time} at {epochs:g}' for time, epochs in zip(times, others, strict=True))}"


def _sources(counts: Sequence[ImageCounts]) -> str:
    known, counted = ([s.name for s in counts if s.known is known] for known in (True, False))
    said = [f"sizes of {', '.join(known)} as published"] if known else []
    return "; ".join([*said, *([f"{', '.join(counted)} counted"] if counted else [])])


def _time(seconds: float, speed: Speed | None) -> str:
    """Return a range of times with its unit: two standard errors to both sides."""
    spread = 2 * speed.error if speed else 0.0
    return span_text(seconds * max(0.0, 1 - spread), seconds * (1 + spread))


def span_text(low: float, high: float) -> str:
    """Return a range of seconds for people, such as ``12 to 15 min`` or ``310 to 390 h``."""
    unit, name = (1, "s") if high < 120 else (60, "min") if high < 7200 else (3600, "h")
    ends = [f"{s / unit:,.0f}" if s / unit >= 10 else f"{s / unit:.1f}" for s in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {name}"


def _gb(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f}" if nbytes >= 1e8 else f"{nbytes / 1e9:.3f}"
