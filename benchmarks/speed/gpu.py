"""How fast fleets train on this machine's card, against sequential eager PyTorch and against eight such processes.

    python -m benchmarks.speed.gpu [--rounds 5] [--workload fixed mixed] [--precision float32 tf32 bfloat16] [--json FILE]

Images x models a second, evaluations included as often as in the whole dataset, for every conv backend; alternating
rounds, each an epoch of every fleet; each contender in a process of its own; the median of the ratios counts. In ``mixed``
every fleet in flight trains the same number of images, as in the dataset, and all slots are full; in a build some are empty
towards the end of a fleet's queue. The hours of the whole dataset follow from ``fixed`` and ``mixed``. A backend that fails
is named and left out.

``--dry`` runs everything small on the CPU: it shows that the script works and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.speed.alternate import Setup, Work, alternate, ratios
from benchmarks.speed.gpu_eager import eager_work, side_by_side
from benchmarks.speed.gpu_workload import DRY, FULL, WORKLOADS, Scale, images_of, queues, write_images
from builders.compute.backend import CARD_BACKENDS, CARD_PRECISIONS
from builders.compute.cards.card import open_card
from builders.compute.cards.compute_path import find_device
from builders.compute.lane import Lane
from builders.images.bank import ImageBank
from builders.recipe.stopping import MAX_EPOCHS
from nws_data.errors import BuildError

DATASET_IMAGES = 2.9e10
"""Training images x models of the whole dataset (13,000 random and 3,000 fixed trainings)."""

FIXED_SHARE = 3_000 / 16_000


@dataclass(frozen=True)
class Row:
    """One contender on one workload."""

    workload: str
    contender: str
    images_per_s: float  # images x models, median over the rounds
    ratio: float  # to sequential eager, median, least and most of alternating rounds
    least: float
    most: float


def fleet_work(bank_folder: Path, workload: str, scale: Scale, device_name: str, backend: str, precision: str) -> Work:
    """Return a round of fleets in flight: every lane enqueues its images, and all are waited for."""
    fleets = queues(workload, scale)
    card = open_card(backend, ImageBank.open(bank_folder), precision, device_name, scale.slots, len(fleets))
    shares: dict[Lane, int] = {}
    for number, trainings in enumerate(fleets):
        shares[Lane(trainings, card, MAX_EPOCHS, number)] = images_of(trainings, scale)
    lanes, owed = list(shares), dict.fromkeys(shares, 0)

    def work() -> None:
        for lane in lanes:
            owed[lane] += shares[lane]
        while any(images > 0 for images in owed.values()) or not all(lane.ready for lane in lanes):
            for lane in lanes:
                if owed[lane] > 0 and lane.ready:
                    owed[lane] -= lane.turn()[1]
                    if lane.done:
                        raise RuntimeError("the trainings ended within the measurement; give fewer --rounds")

    return work


def measure(workload: str, backends: Sequence[str], precision: str, scale: Scale, device: str, rounds: int) -> list[Row]:
    """Time the baselines and every backend on one workload; backends one by one, so that the card's memory suffices."""
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder)
        write_images(bank, scale)
        common = (bank, workload, scale, device)
        for backend in backends:
            fleet = f"{backend} {precision}"
            contenders: dict[str, Setup] = {
                "eager": partial(eager_work, *common),
                f"{scale.processes} processes": partial(side_by_side, *common),
                fleet: partial(fleet_work, *common, backend, precision),
            }
            images = {
                "eager": scale.eager_images * scale.eager_models,
                f"{scale.processes} processes": scale.eager_images * scale.eager_models * scale.processes,
                fleet: sum(images_of(trainings, scale) for trainings in queues(workload, scale)),
            }
            try:
                timings = alternate(contenders, rounds)
            except RuntimeError as error:  # such as too little memory: the others still count
                print(f"{workload}, {fleet}: {error}", file=sys.stderr, flush=True)
                continue
            for name, timing in timings.items():
                factor = images[name] / images["eager"]
                ratio = [factor * value for value in ratios(timings["eager"], timing)]
                speed = images[name] / timing.median_s
                rows.setdefault(name, Row(workload, name, speed, statistics.median(ratio), min(ratio), max(ratio)))
    return list(rows.values())


def dataset_hours(rows: Sequence[Row]) -> dict[str, float]:
    """Return the hours of the whole dataset for every contender that was measured on ``fixed`` and ``mixed``."""
    speed = {(row.workload, row.contender): row.images_per_s for row in rows}
    return {
        name: DATASET_IMAGES * (FIXED_SHARE / speed["fixed", name] + (1 - FIXED_SHARE) / speed["mixed", name]) / 3600
        for workload, name in speed
        if workload == "fixed" and ("mixed", name) in speed
    }


def render(rows: Sequence[Row]) -> str:
    """Return the tables."""
    lines = [f"{'workload':9} {'contender':20} {'images x models/s':>18} {'times eager':>12}  least to most"]
    for row in rows:
        speed = f"{row.images_per_s:18,.0f} {row.ratio:12.1f}"
        lines.append(f"{row.workload:9} {row.contender:20} {speed}  {row.least:.1f} to {row.most:.1f}")
    hours = dataset_hours(rows)
    lines += [f"whole dataset with {name}: {value:,.1f} hours" for name, value in hours.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; raises ``BuildError`` without a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workload", choices=WORKLOADS, nargs="+", default=list(WORKLOADS))
    parser.add_argument("--backend", choices=CARD_BACKENDS, nargs="+", default=list(CARD_BACKENDS))
    parser.add_argument("--precision", choices=CARD_PRECISIONS, nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--dry", action="store_true", help="small and on the CPU: measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, as they come")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        raise BuildError(f"--rounds must be at least 1, got {options.rounds}")
    device, scale = ("cpu", DRY) if options.dry else ("cuda", FULL)
    print("on the CPU, small: these numbers say nothing" if options.dry else _card(), flush=True)
    rows: list[Row] = []
    for workload in options.workload:
        for precision in options.precision:
            rows += measure(workload, options.backend, precision, scale, device, options.rounds)
            print(render(rows), flush=True)
            if options.json:
                options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def _card() -> str:
    """Return the card's name and torch's version; raises ``BuildError`` without a card."""
    device = find_device("cuda")
    memory = torch.cuda.get_device_properties(device).total_memory / 1e9
    return f"{torch.cuda.get_device_name(device)}, {memory:.0f} GB, torch {torch.__version__}"


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        raise SystemExit(f"benchmarks.speed.gpu: {error} (--dry tries the script on the CPU)") from None
