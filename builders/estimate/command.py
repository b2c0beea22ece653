"""The command ``nws plan``."""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from builders.config import BuildConfig
from nws_data.errors import BuildError
from nws_data.terminal import plain, say, say_json

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
    from builders.estimate.report import format_estimate

    if options.epochs is not None and not (19 <= options.epochs <= config.epoch_cap):
        raise BuildError(f"--epochs must be in [19, {config.epoch_cap}], the cap; got {options.epochs:g}")
    if not (math.isfinite(options.calibrate) and options.calibrate > 0):
        raise BuildError(f"--calibrate must be a positive number of seconds, got {options.calibrate:g}")
    if (config.engine.name != "local" or config.device != "cpu") and not options.no_calibrate:
        raise BuildError(
            "only this machine's processors can be calibrated; give --no-calibrate, or plan with --engine local"
        )
    how = {"epochs": options.epochs, "seconds": None if options.no_calibrate else options.calibrate}
    try:
        found = estimate(config, **how)
    except BuildError as error:
        with tempfile.TemporaryDirectory() as new:
            found = estimate(replace(config, out=Path(new)), **how)  # raises again unless only the folder was refused
        say(plain(f"nws build would refuse this, so a new folder is estimated: {error}"), error=True)
    say_json({**asdict(found), "wall_s": found.wall_s}) if options.json else say(format_estimate(found))
    return 0
