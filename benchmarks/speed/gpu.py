"""How fast fleets train on this machine's card, against sequential eager PyTorch on the same card.

    python -m benchmarks.speed.gpu [--rounds 5] [--population fixed random] [--precision float32 tf32 bfloat16] [--json]

Images x models a second, evaluations included as often as in the whole dataset; alternating rounds, each an epoch of every
fleet in flight; each contender in a process of its own; the median of the ratios counts. ``hours`` are those of the whole
dataset if all of it were of that population. A backend that fails is named and left out. ``--dry`` runs everything small on
the CPU: it shows that the script works and measures nothing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmarks.speed.alternate import Setup, Work, alternate, command_line, compared, show
from benchmarks.speed.eager import Eager, random_bank
from builders.compute.backend import CARD_BACKENDS, CARD_PRECISIONS
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.card import open_card
from builders.compute.cards.compute_path import find_device
from builders.compute.lane import Lane
from builders.images.bank import ImageBank
from builders.plan.cost import training_flop
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining, plan_trainings
from builders.recipe.stopping import MAX_EPOCHS
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import FIXED_ARCHITECTURE, POPULATIONS

SET = "random"
DATASET_IMAGES = 2.9e10
"""Training images x models of the whole dataset (13,000 random and 3,000 fixed trainings)."""

_DRAWS = 128  # trainings of the population that each fleet stands for: as many as the largest fleet has slots


@dataclass(frozen=True)
class Scale:
    """How much work a measurement is."""

    n_train: int  # images of the set
    n_test: int  # as many as give evaluations the share that they have in the whole dataset: 0.633 of the images trained on
    lanes: int  # fleets in flight; of the fixed architecture a quarter, since its fleets are large
    slots: int | None  # of a fleet; None: as in a build
    eager_images: int  # images of one eager model and round

    @property
    def epoch_images(self) -> int:
        """Images of one training's epoch; a little less where classes are not equally frequent in its training part."""
        return self.n_train - self.n_train // 10


FULL = Scale(50_000, 18_500, lanes=8, slots=None, eager_images=6_400)
DRY = Scale(400, 100, lanes=2, slots=2, eager_images=256)


def queues(population: str, scale: Scale) -> list[list[PlannedTraining]]:
    """Return the trainings of each fleet in flight, as many as it has slots: of one shape, all else as drawn.

    Drawn trainings are sorted by operations an image and parted; each fleet has the shape of the middle of its part, so
    that few fleets have about the population's mean.
    """
    n = max(1, scale.lanes // 4) if population == "fixed" else scale.lanes
    drawn = sorted(
        plan_trainings(population, n * _DRAWS, 0, [SET]), key=lambda one: training_flop(Architecture.of(one.hyperparameters))
    )
    fleets = []
    for part in (drawn[i : i + _DRAWS] for i in range(0, len(drawn), _DRAWS)):
        middle = part[_DRAWS // 2].hyperparameters
        shape = {name: getattr(middle, name) for name in (*FIXED_ARCHITECTURE, "batch_size")}
        slots = scale.slots or Shape.of(middle).card_slots
        fleets.append([replace(one, hyperparameters=replace(one.hyperparameters, **shape)) for one in part[:slots]])
    return fleets


def eager_work(bank_folder: Path, population: str, scale: Scale, device_name: str) -> Work:
    """Return a round of the baseline: a model of each fleet, trained and scored in the proportion of an epoch.

    Images lie on the card, and nothing waits for results within an epoch. Precision is PyTorch's default.
    """
    torch.set_num_threads(1)
    device = find_device(device_name)
    bank = DeviceBank(ImageBank.open(bank_folder), device)
    models = [Eager(fleet[i % len(fleet)], device) for i, fleet in enumerate(queues(population, scale))]
    order = torch.randperm(scale.n_train, generator=torch.Generator().manual_seed(0))
    rows = order[: scale.eager_images].to(device)
    n_scored = scale.eager_images * (2 * (scale.n_train // 10) + scale.n_test) // scale.epoch_images
    scored = (torch.arange(n_scored) % scale.n_test).to(device) + bank.first_row(SET, "test")

    def work() -> None:
        for model in models:
            model.train(map(bank.gather, rows.split(model.planned.hyperparameters.batch_size)))
            model.score(map(bank.gather, scored.split(1024)))

    return work


def fleet_work(bank_folder: Path, population: str, scale: Scale, device_name: str, backend: str, precision: str) -> Work:
    """Return a round of fleets in flight: every lane enqueues an epoch's images, and all are waited for."""
    fleets = queues(population, scale)
    card = open_card(backend, ImageBank.open(bank_folder), precision, device_name, scale.slots, len(fleets))
    lanes = [Lane(trainings, card, MAX_EPOCHS, number) for number, trainings in enumerate(fleets)]
    owed = dict.fromkeys(lanes, 0)

    def work() -> None:
        for lane, trainings in zip(lanes, fleets, strict=True):
            owed[lane] += len(trainings) * scale.epoch_images
        while any(images > 0 for images in owed.values()) or not all(lane.ready for lane in lanes):
            for lane in lanes:
                if owed[lane] > 0 and lane.ready:
                    owed[lane] -= lane.turn()[1]
                    if lane.done:
                        raise RuntimeError("the trainings ended within the measurement; give fewer --rounds")

    return work


def measure(
    population: str, backend: str, precision: str, scale: Scale, device: str, rounds: int
) -> list[dict[str, object]]:
    """Time the baseline and a backend on one population; return a row each."""
    fleets = queues(population, scale)
    images = {"eager": scale.eager_images * len(fleets), "fleets": sum(map(len, fleets)) * scale.epoch_images}
    with tempfile.TemporaryDirectory() as folder:
        random_bank(Path(folder), {SET: (scale.n_train, scale.n_test)})
        common = (Path(folder), population, scale, device)
        fleet_setup: Setup = partial(fleet_work, *common, backend, precision)
        times = alternate({"eager": partial(eager_work, *common), "fleets": fleet_setup}, rounds)
    an_image = {name: [seconds / images[name] for seconds in own] for name, own in times.items()}
    rows: list[dict[str, object]] = []
    for name, label in (("eager", "eager"), ("fleets", f"{backend} {precision}")):
        found = compared(an_image["eager"], an_image[name])
        an_image_s = found.pop("median_s")
        row = {"population": population, "contender": label, "images_per_s": 1 / an_image_s, **found}
        rows.append(row | {"hours": DATASET_IMAGES * an_image_s / 3600})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; raises ``BuildError`` without a card."""
    parser = command_line(__doc__)
    parser.add_argument("--population", choices=POPULATIONS, nargs="+", default=POPULATIONS)
    parser.add_argument("--backend", choices=CARD_BACKENDS, nargs="+", default=list(CARD_BACKENDS))
    parser.add_argument("--precision", choices=CARD_PRECISIONS, nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--dry", action="store_true", help="small and on the CPU: measures nothing")
    options = parser.parse_args(arguments)
    device, scale = ("cpu", DRY) if options.dry else ("cuda", FULL)
    find_device(device)
    rows: list[dict[str, object]] = []
    for population, precision, backend in product(options.population, options.precision, options.backend):
        try:
            rows += measure(population, backend, precision, scale, device, options.rounds)
        except RuntimeError as error:  # such as too little memory: the others still count
            print(f"{population}, {backend} {precision}: {error}", file=sys.stderr, flush=True)
    if rows:
        show(rows, options.json)


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        raise SystemExit(f"benchmarks.speed.gpu: {error} (--dry tries the script on the CPU)") from None
