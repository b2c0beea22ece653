"""The command ``nws plan``."""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builders.config import WORKER_BYTES, BuildConfig
from builders.recipe.stopping import MIN_EPOCH_CAP
from nws_data.errors import BuildError
from nws_data.terminal import align, plain, say, say_json

if TYPE_CHECKING:  # its modules import torch: not for a help text
    from builders.estimate.estimate import Estimate

SECONDS = 20.0


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``nws plan`` has beside the options of ``nws build``."""
    group = parser.add_argument_group("estimate")
    epochs = "epochs of a training on average (default: 50, or the cap if it is lower)"
    group.add_argument("--epochs", type=float, metavar="E", help=epochs)
    seconds = "seconds to measure this machine (default %(default)g)"
    group.add_argument("--calibrate", type=float, default=SECONDS, metavar="S", help=seconds)
    group.add_argument("--no-calibrate", action="store_true", help="no hours")


def run_plan(config: BuildConfig, options: argparse.Namespace) -> int:
    """Print the estimate of a build, into a new folder where it would not go into this one; raises ``BuildError``."""
    from builders.estimate.estimate import estimate

    if options.epochs is not None and not (MIN_EPOCH_CAP <= options.epochs <= config.epoch_cap):
        raise BuildError(f"--epochs must be in [{MIN_EPOCH_CAP}, {config.epoch_cap}], the cap; got {options.epochs:g}")
    if not (math.isfinite(options.calibrate) and options.calibrate > 0):
        raise BuildError(f"--calibrate must be a positive number of seconds, got {options.calibrate:g}")
    if config.engine != "local" and not options.no_calibrate:
        raise BuildError("only this machine can be calibrated; give --no-calibrate, or plan with --engine local")
    how = {"epochs": options.epochs, "seconds": None if options.no_calibrate else options.calibrate}
    try:
        found = estimate(config, **how)
    except BuildError as error:
        with tempfile.TemporaryDirectory() as new:
            found = estimate(replace(config, out=Path(new)), **how)  # raises again unless only the folder was refused
        say(plain(f"nws build would refuse this, so a new folder is estimated: {error}"), error=True)
    say_json({**asdict(found), "wall_s": found.wall_s}) if options.json else say(format_estimate(found, config))
    return 0


def format_estimate(found: Estimate, config: BuildConfig) -> str:
    """Return a table of the populations and what it rests on."""
    spread = 2 * found.speed.error if found.speed else 0.0  # two standard errors to both sides
    rows = [["population", "trainings", "there", "FLOP", *(["time"] if found.speed else []), "GB", "shards"]]
    for name, item in found.populations.items():
        wall_s = item.wall_s or 0.0
        times = [span_text(wall_s * max(0.0, 1 - spread), wall_s * (1 + spread))] if found.speed else []
        amounts = [f"{item.work.flop:.2e}", *times, _gb(item.nbytes), f"{item.n_shards:,}"]
        rows.append([name, f"{item.n_trainings:,}", f"{item.n_there:,}", *amounts])
    works = [item.work for item in found.populations.values()]
    how = "not calibrated" if any(work.n_trainings for work in works) else "all trainings are there, nothing to do"
    staging = max(item.staging_bytes for item in found.populations.values())
    if found.speed:
        how = (
            f"measured here on {found.speed.n_shapes} shapes, one of which differs from the mean by "
            f"{found.speed.scatter:.0%}, their sum by about {found.speed.error:.0%}; proportional to the epochs assumed"
        )
    workers = f"{config.workers:,} worker{'' if config.workers == 1 else 's'}"
    return "\n".join(
        [
            *align(rows),
            "",
            f"{config.precision}, {found.epochs:g} epochs a training on average assumed (--epochs; the cap is "
            f"{config.epoch_cap:,})",
            f"work: {sum(work.train_images for work in works):.2e} images x models trained on, "
            f"{sum(work.scored_images for work in works):.2e} scored",
            f"time of {workers}: {how}",
            f"disk: {_gb(found.disk_bytes)} GB of shards in the end; while building up to {_gb(staging)} GB of finished "
            f"trainings beside them and {_gb(found.images_bytes)} GB of images",
            f"memory: {workers} of up to {_gb(WORKER_BYTES)} GB each, and the images",
        ]
    )


def span_text(low: float, high: float) -> str:
    """Return a range of seconds for people, such as ``12 to 15 min`` or ``310 to 390 h``."""
    unit, name = (1, "s") if high < 120 else (60, "min") if high < 7200 else (3600, "h")
    ends = [f"{s / unit:,.0f}" if s / unit >= 10 else f"{s / unit:.1f}" for s in (low, high)]
    return f"{' to '.join(dict.fromkeys(ends))} {name}"


def _gb(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f}" if nbytes >= 1e8 else f"{nbytes / 1e9:.3f}"
