"""The commands ``nws build`` and ``nws rebuild``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.compute.backend import BACKENDS, CARD_PRECISIONS, DEVICES
from builders.config import PRESETS, BuildConfig
from builders.estimate.command import add_plan_options, run_plan
from builders.images.prepare import ImageOptions
from builders.images.sources import SOURCES
from builders.recipe.stopping import MAX_EPOCHS
from builders.run.engines import ENGINES, Engine
from nws_data.errors import BuildError, NWSError
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.terminal import say, say_json

if TYPE_CHECKING:  # their modules import torch: not for a help text
    from builders.build import BuildReport
    from builders.rebuild import RebuildReport

_BUILD_EXAMPLES = """\
examples:
  nws build --population fixed --trainings 48 --images digits --out mine
  nws build --population random --trainings 200 --images mnist cifar10 \\
    --download --train-images 5000 --out real
  nws build --preset paper --download --out paper
  nws build --preset paper --download --out /shared/paper --engine ray

Run the same command again to go on after an interruption; give more
--trainings to extend a dataset. Speed is shown in images x models/s: training
images a second, summed over the networks trained side by side.
"""


_REBUILD_EXAMPLES = """\
examples:
  nws rebuild fixed-000017
  nws rebuild random-000003 mine --images cells=cells.npz

Exit status: 0 identical, 1 different, 2 it cannot be trained again here (the
message says why).
"""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the builders' commands to the ``nws`` parser."""
    parser = commands.add_parser(
        "build",
        help="train networks and write or extend a dataset",
        epilog=_BUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_build_options(parser)
    parser.set_defaults(run=_run_build)
    parser = commands.add_parser("plan", help="what a build will cost before it starts: work, hours, gigabytes")
    _add_build_options(parser)
    add_plan_options(parser)
    parser.set_defaults(run=lambda options: run_plan(config_of(options), options))
    parser = commands.add_parser(
        "rebuild",
        help="train one training again from its id and compare it bit for bit",
        epilog=_REBUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_rebuild_options(parser)
    parser.set_defaults(run=_run_rebuild)


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to build")
    what.add_argument(
        "--preset", choices=PRESETS, help="quickstart: minutes on a laptop; paper: 3,000 fixed and 13,000 random"
    )
    what.add_argument("--population", choices=POPULATIONS, help="fixed: one architecture; random: 243 of them")
    what.add_argument("--trainings", type=int, metavar="N", help="how many trainings the population shall have in the end")
    what.add_argument("--seed", type=int, default=0, help="build seed (default 0)")
    what.add_argument("--epoch-cap", type=int, metavar="E", help=f"bound on epochs, at least 19 (default {MAX_EPOCHS})")
    what.add_argument(
        "--precision",
        choices=CARD_PRECISIONS,
        default="float32",
        help="of products and activations (default float32); tf32 on cards alone",
    )
    what.add_argument("--no-batch-norm", action="store_true", help="the ablation of the paper's F.3")
    _add_image_options(parser)
    where = parser.add_argument_group("where and how")
    where.add_argument("--out", type=Path, default=Path("nws"), help="folder of the dataset (default: nws)")
    where.add_argument("--workers", type=int, metavar="W", help="one-thread processes of up to 0.2 GB (default: all cores)")
    where.add_argument(
        "--device", choices=DEVICES, default="cpu", help="cuda: NVIDIA cards; auto: cards if there are any (default cpu)"
    )
    where.add_argument(
        "--backend",
        choices=BACKENDS,
        help="how the device computes: native (C kernels) or plain (PyTorch) on a CPU, triton or grouped on a card "
        "(default: as the trainings that are there already, else native or rows)",
    )
    where.add_argument(
        "--engine", choices=ENGINES, default="local", help="local: processes on this machine; ray: a cluster (default local)"
    )
    where.add_argument(
        "--address",
        metavar="ADDR",
        help="of the Ray cluster, HOST:PORT; local: a Ray of --workers CPUs, started for this build (default: $RAY_ADDRESS, "
        "else the cluster this machine belongs to, else local)",
    )
    where.add_argument(
        "--gpus-per-fleet", type=float, metavar="G", default=1.0, help="with Ray on GPUs: part of a GPU a fleet takes (1)"
    )
    where.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_rebuild_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("training", metavar="ID", help="such as fixed-000017")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("nws"), help="folder of the dataset (default: nws)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rebuilt training to this safetensors file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_image_options(parser, "default: as the dataset records them")


def _add_image_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    images = parser.add_argument_group("images", default)
    images.add_argument(
        "--images",
        nargs="+",
        metavar="SOURCE",
        help=f"{', '.join(SOURCES)}, NAME=FILE.npz or NAME=FOLDER",
    )
    images.add_argument("--image-root", type=Path, metavar="DIR", help="torchvision's folder (default: ~/.cache/nws/images)")
    images.add_argument("--download", action="store_true", help="let torchvision download what is missing")
    limit = "use only N {} images of each set: a multiple of ten, the first of each class"
    images.add_argument("--train-images", type=int, metavar="N", help=limit.format("training"))
    images.add_argument("--test-images", type=int, metavar="N", help=limit.format("test"))


def config_of(options: argparse.Namespace) -> BuildConfig:
    """Turn the options of ``nws build`` into a configuration; raises ``BuildError``."""
    values: dict[str, Any] = {"trainings": {}, **PRESETS.get(options.preset, {})}
    if options.population or options.trainings is not None:
        if not options.population or options.trainings is None:
            raise BuildError("--population and --trainings belong together; give both, or a --preset alone")
        values["trainings"] = {options.population: options.trainings}
    if not values["trainings"]:
        raise BuildError("nothing to build: give --population and --trainings, or a --preset")
    values["images"] = image_options_of(options, values.get("images"))
    given = {"epoch_cap": options.epoch_cap, "workers": options.workers}
    values |= {name: value for name, value in given.items() if value is not None}
    return BuildConfig(
        out=options.out,
        seed=options.seed,
        precision=options.precision,
        batch_norm=not options.no_batch_norm,
        device=options.device,
        backend=options.backend,
        engine=Engine(name=options.engine, address=options.address, gpus_per_fleet=options.gpus_per_fleet),
        **values,
    )


def image_options_of(options: argparse.Namespace, preset: ImageOptions | None = None) -> ImageOptions:
    """Turn the options of the group images into :class:`ImageOptions`, over those of a preset; raises ``BuildError``."""
    given = {
        "sources": tuple(options.images) if options.images else None,
        "root": options.image_root,
        "n_train": options.train_images,
        "n_test": options.test_images,
    }
    values = {"sources": (), **(asdict(preset) if preset else {}), "download": options.download}
    return ImageOptions(**values | {name: value for name, value in given.items() if value is not None})


def _run_build(options: argparse.Namespace) -> int:
    from builders.build import build

    reports = build(config_of(options))
    if options.json:
        say_json([asdict(report) for report in reports])
        return 0
    for report in reports:
        say(_sentence(report))
    say(f"Next: nws info {options.out}, nws verify {options.out}, or in Python: nws_data.open({str(options.out)!r})")
    return 0


def _run_rebuild(options: argparse.Namespace) -> int:
    from builders.rebuild import rebuild, recorded_images

    try:
        images = image_options_of(options, recorded_images(options.folder, options.training, options.images))
        report = rebuild(options.folder, options.training, images, options.out)
    except NWSError as error:
        if options.json:
            say_json({"training": options.training, "result": "cannot", "reason": str(error)})
        raise
    if options.json:
        result = "identical" if report.identical else "different"
        say_json({"training": report.training, "result": result, **asdict(report)})
    else:
        say(f"{report.training}: {_comparison(report)} ({report.elapsed_s:.0f} s, path {report.compute_path})")
    return 0 if report.identical else 1


def _comparison(report: RebuildReport) -> str:
    """Return what a rebuilt training has in common with the stored one, in words."""
    if report.identical:
        return "identical, bit for bit: all snapshots and learning curves"
    if report.first_different is None:
        return "different: the weights are identical, the learning curves are not"
    return (
        f"different: {report.n_different:,} weights, from snapshot {report.first_different} on, by "
        f"{report.largest_difference:.3g} at most"
    )


def _sentence(report: BuildReport) -> str:
    if not report.n_new:
        return f"{report.population}: {report.n_trainings} trainings, all there already"
    speed = report.n_images / report.elapsed_s
    return (
        f"{report.population}: {report.n_trainings} trainings, {report.n_new} trained now in {report.elapsed_s:.0f} s "
        f"({speed:,.0f} images x models/s)"
    )
