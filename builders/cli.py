"""The commands ``nws build`` and ``nws rebuild``."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from builders.compute.backend import BACKENDS, CARD_PRECISIONS, DEVICES
from builders.config import ENGINES, PRESETS, BuildConfig
from builders.estimate.command import add_plan_options, run_plan
from builders.images.prepare import ImageOptions
from builders.images.sources import SOURCES
from builders.recipe.stopping import MAX_EPOCHS
from nws_data.commands import OUT, Commands, add_arguments, add_command, arg
from nws_data.errors import BuildError, NWSError
from nws_data.space.hyperparameters import POPULATIONS
from nws_data.space.trajectory import SNAPSHOTS, snapshots_text
from nws_data.terminal import say, say_json

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


def add_commands(commands: Commands) -> None:
    """Add the builders' commands to the ``nws`` parser."""
    help = "train networks and write or extend a dataset"
    _add_build_options(add_command(commands, "build", _run_build, help, examples=_BUILD_EXAMPLES))
    help = "what a build will cost before it starts: work, hours, gigabytes"
    plan = add_command(commands, "plan", lambda options: run_plan(config_of(options), options), help)
    _add_build_options(plan)
    add_plan_options(plan)
    rebuild = add_command(
        commands,
        "rebuild",
        _run_rebuild,
        "train one training again from its id and compare it bit for bit",
        arg("training", metavar="ID", help="such as fixed-000017"),
        arg("folder", type=Path, nargs="?", default=Path("nws"), help="folder of the dataset (default: nws)"),
        arg("--out", type=Path, metavar="FILE", help="write the rebuilt training to this safetensors file"),
        arg("--json", action="store_true", help="print the result as JSON"),
        examples=_REBUILD_EXAMPLES,
    )
    _add_image_options(rebuild, "default: as the dataset records them")


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; None of one that is a field of ``BuildConfig`` stands for that field's default."""
    presets = "quickstart: minutes on a laptop; paper: 3,000 fixed and 13,000 random"
    precision = "of products and activations (default float32); tf32 on cards alone"
    backend = (
        "how the device computes: native (C kernels) or plain (PyTorch) on a CPU, triton on a card (default: as the "
        "trainings that are there already, else native or triton)"
    )
    address = (
        "of the Ray cluster, HOST:PORT; local: a Ray of --workers CPUs, started for this build (default: $RAY_ADDRESS, "
        "else the cluster this machine belongs to, else local)"
    )
    add_arguments(
        parser.add_argument_group("what to build"),
        arg("--preset", choices=PRESETS, help=presets),
        arg("--population", choices=POPULATIONS, help="fixed: one architecture; random: 243 of them"),
        arg("--trainings", type=int, metavar="N", help="how many trainings the population shall have in the end"),
        arg("--seed", type=int, help="build seed (default 0)"),
        arg("--epoch-cap", type=int, metavar="E", help=f"bound on epochs, at least 19 (default {MAX_EPOCHS})"),
        arg("--precision", choices=CARD_PRECISIONS, help=precision),
        arg("--no-batch-norm", action="store_const", const=False, dest="batch_norm", help="the ablation of the paper's F.3"),
    )
    _add_image_options(parser)
    add_arguments(
        parser.add_argument_group("where and how"),
        OUT,
        arg("--workers", type=int, metavar="W", help="one-thread processes of up to 0.3 GB (default: all cores)"),
        arg("--device", choices=DEVICES, help="cuda: NVIDIA cards; auto: cards if there are any (default cpu)"),
        arg("--backend", choices=BACKENDS, help=backend),
        arg("--engine", choices=ENGINES, help="local: this machine; ray: a cluster (default local)"),
        arg("--address", metavar="ADDR", help=address),
        arg("--gpus-per-fleet", type=float, metavar="G", help="with Ray on GPUs: part of a GPU a fleet takes (1)"),
        arg("--json", action="store_true", help="print the report as JSON"),
    )


def _add_image_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    sources = f"{', '.join(SOURCES)}, NAME=FILE.npz or NAME=FOLDER"
    root = "torchvision's folder (default: ~/.cache/nws/images)"
    limit = "use only N {} images of each set: a multiple of ten, the first of each class"
    add_arguments(
        parser.add_argument_group("images", default),
        arg("--images", nargs="+", metavar="SOURCE", dest="sources", help=sources),
        arg("--image-root", type=Path, metavar="DIR", dest="root", help=root),
        arg("--download", action="store_true", help="let torchvision download what is missing"),
        arg("--train-images", type=int, metavar="N", dest="n_train", help=limit.format("training")),
        arg("--test-images", type=int, metavar="N", dest="n_test", help=limit.format("test")),
    )


def _given(options: argparse.Namespace, kind: type[Any]) -> dict[str, Any]:
    """Return those fields of a dataclass that the command line names."""
    found = {field.name: getattr(options, field.name, None) for field in fields(kind)}
    return {name: value for name, value in found.items() if value is not None}


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
    given = {name: value for name, value in _given(options, BuildConfig).items() if name != "trainings"}
    return BuildConfig(**values | given)


def image_options_of(options: argparse.Namespace, preset: ImageOptions | None) -> ImageOptions:
    """Turn the options of the group images into :class:`ImageOptions`, over those of a preset; raises ``BuildError``."""
    given = _given(options, ImageOptions)
    given["sources"] = tuple(given.get("sources", preset.sources if preset else ()))
    return replace(preset, **given) if preset else ImageOptions(**given)


def _run_build(options: argparse.Namespace) -> int:
    from builders.build import build

    reports = build(config_of(options))
    if options.json:
        say_json([asdict(report) for report in reports])
        return 0
    for report in reports:
        new = f"{report.n_new} trained now in {report.elapsed_s:.0f} s"
        speed = f"{report.n_images / report.elapsed_s:,.0f} images x models/s"
        found = f"{new} ({speed})" if report.n_new else "all there already"
        say(f"{report.population}: {report.n_trainings} trainings, {found}")
    say(f"Next: nws info {options.out}, nws verify {options.out}, or in Python: nws_data.open({str(options.out)!r})")
    return 0


def _run_rebuild(options: argparse.Namespace) -> int:
    from builders.rebuild import images_of, rebuild

    try:
        images = image_options_of(options, images_of(options.folder, options.training, options.sources))
        report = rebuild(options.folder, options.training, images, options.out)
    except NWSError as error:
        if options.json:
            say_json({"training": options.training, "result": "cannot", "reason": str(error)})
        raise
    if options.json:
        result = "identical" if report.identical else "different"
        say_json({"training": report.training, "result": result, **asdict(report)})
    else:
        held = "all snapshots" if report.snapshots == SNAPSHOTS else snapshots_text(report.snapshots)
        found = f"identical, bit for bit: {held} and learning curves"
        if report.first_different is not None:
            found = (
                f"different: {report.n_different:,} weights, from snapshot {report.first_different} on, by "
                f"{report.largest_difference:.3g} at most"
            )
        elif not report.same_curves:
            found = "different: the weights are identical, the learning curves are not"
        say(f"{report.training}: {found} ({report.elapsed_s:.0f} s, path {report.compute_path})")
    return 0 if report.identical else 1
