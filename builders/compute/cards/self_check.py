"""Does a card compute what it should? A step of a fleet and a scoring, as in a build, against plain PyTorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.compute.plain import PlainTraining
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import OPTIMIZERS, FleetOptimizer
from nws_data.errors import BuildError
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

MADE_UP = len(CLASSES["activation"])
"""Trainings that the check makes up: one of each activation, as far as there are slots."""

ALLOWED = {"float64": 1e-6, "float32": 1e-2, "tf32": 0.3, "bfloat16": 0.3}
"""Relative error of a tensor's gradient that rounding can make in the second best of the made-up trainings.

Single trainings are no measure: of nearly equal cells of a pool another one gets the gradient, and units that are almost
dead before a norm are amplified, which makes errors of up to 1 in low precision. The second best had at most 0.16 in
bfloat16, 0.08 in tf32 and 2e-3 in float32, in PyTorch that rounds where the kernels do; a wrong kernel is wrong in all.
"""

ALLOWED_SCORES = 0.02
"""Share of images that the plain network may classify otherwise, of near ties; for a wrong kernel it is about a tenth."""

_RATE, _MOST_SCORED = 0.001, 500
_NEXT = (
    "Nothing was trained with it. Try another version of torch and triton, or --device cpu; `python -m "
    "benchmarks.speed.cards smoke` shows which kernels are wrong"
)


def check_fleet(fleet: DeviceFleet, shape: Shape, bank: DeviceBank, precision: str) -> None:
    """Compare a step with every activation, as far as there are slots, and the scores of the networks; see ``step_errors``.

    The first shape of a process takes seconds, in which PyTorch loads its libraries, others a fraction of one.

    Raises:
        BuildError: a tensor differs from the plain backend's by more than rounding, or a score from the plain network's.
    """
    share, errors = step_errors(fleet, shape, bank, precision)
    if not share <= ALLOWED_SCORES:
        raise BuildError(
            f"--device {fleet.device}: of {shape.architecture}, {share:.0%} of the images are scored otherwise than by the "
            f"plain network, allowed {ALLOWED_SCORES:.0%}. {_NEXT}"
        )
    allowed = ALLOWED[precision]
    if wrong := {place: error for place, error in errors.items() if error > allowed}:
        place = max(wrong, key=lambda name: wrong[name])
        raise BuildError(
            f"--device {fleet.device}: a training step in {precision} is not that of the plain backend: of "
            f"{shape.architecture} with batches of {shape.batch_size}, {place} is off by {wrong[place]:.2g} of its size, "
            f"allowed {allowed:g} (and so are {len(wrong) - 1} others). {_NEXT}"
        )


def made_up(shape: Shape, dataset: str, slot: int) -> PlannedTraining:
    """Return a training of a shape, made up: what fleets mix differs from slot to slot."""
    names = (*FIXED_ARCHITECTURE, "batch_norm")
    mixed = {name: CLASSES[name][slot % len(CLASSES[name])] for name in ("activation", "optimizer")}
    options = {name: getattr(shape.architecture, name) for name in names} | mixed
    hyperparameters = HyperParameters(
        **{
            "dataset": dataset, "learning_rate": _RATE, "batch_size": CLASSES["batch_size"][0],  # which the shape decides
            "augmentation": slot % 2 == 1, "initialization": "glorot_normal",
        } | options
    )  # fmt: skip
    return PlannedTraining(f"random-{slot:06d}", slot, hyperparameters)


def load_made_up(fleet: DeviceFleet, shape: Shape, bank: DeviceBank, order: Sequence[int]) -> list[PlannedTraining]:
    """Put made-up trainings into the first slots, inside the fleet's turn: one batch of the first images of a set."""
    name, item = next(iter(bank.host.sets.items()))
    rows = torch.arange(shape.batch_size, device=bank.device)[None] % item.n_train
    trainings = [made_up(shape, name, i) for i in order[: fleet.slots]]
    for slot, planned in enumerate(trainings):
        scored = {"test_accuracy": ("test", torch.arange(min(item.n_test, _MOST_SCORED)))}
        fleet.load(slot, planned, initial_vector(planned.hyperparameters, planned.seed), scored)
        fleet.set_epoch(slot, rows, torch.full((1,), _RATE, dtype=torch.float64))
    return trainings


def step_errors(fleet: DeviceFleet, shape: Shape, bank: DeviceBank, reference: str) -> tuple[float, dict[str, float]]:
    """Take a step with every activation, score the networks, and leave the slots free.

    Returns the largest share of images, over the activations, that are scored otherwise than by the plain network, and the
    relative errors of the step: of each tensor's gradient and running statistic in the second best of the trainings, of each
    activation in the second best of the hidden kernels, and of each optimizer's update. ``reference`` is the plain backend's
    precision.
    """
    shares: list[float] = []
    groups: dict[str, list[float]] = defaultdict(list)
    tensors = [(layer, tensor) for layer in shape.architecture.layers for tensor in layer.tensors]
    plain = PlainTraining(shape, reference, bank.device)
    with fleet.turn():
        trainings = load_made_up(fleet, shape, bank, range(MADE_UP))
        fleet.run(1)
        found = [t[: len(trainings)].to("cpu", torch.float64, copy=True) for t in (fleet.vectors, fleet.state.optimizer.m)]
        for slot, planned in enumerate(trainings):
            fleet.evaluate(slot)
            (rows,) = fleet.scored(slot)
            images, labels = bank.gather(rows)
            plain.load(fleet.vectors[slot], planned.hyperparameters, planned.seed)
            correct = plain.scorer()(images).argmax(1) == labels
            shares.append((correct != fleet.correct[: len(rows)]).double().mean().item())
            fleet.clear(slot)
        name, item = next(iter(bank.host.sets.items()))
        rows = torch.arange(shape.batch_size, device=bank.device) % item.n_train + bank.first_row[name, "train"]
        images, labels = bank.gather(rows)
        for planned, vector, moment in zip(trainings, *found, strict=True):
            hyperparameters, start = planned.hyperparameters, initial_vector(planned.hyperparameters, planned.seed)
            plain.load(start, hyperparameters, planned.seed)
            plain.step(images, labels, 0, _RATE)
            expected = [values.to("cpu", torch.float64) for values in (plain.vector, plain.moment)]
            for layer, tensor in tensors:
                if tensor.kind in ("mean", "variance"):
                    error = _error((vector - start)[tensor.slice], (expected[0] - start)[tensor.slice])
                elif layer.is_conv and layer.has_norm and tensor.kind == "bias":
                    continue  # its gradient is rounding noise
                else:
                    error = _error(moment[tensor.slice], expected[1][tensor.slice])
                groups[f"the gradient or statistic of {layer.name} {tensor.kind}"].append(error)
                if tensor.kind == "kernel" and not layer.is_output:
                    groups[f"hidden layers with {hyperparameters.activation}"].append(error)
            groups[f"the update by {hyperparameters.optimizer}"] = [_update_error(hyperparameters, start, vector, moment)]
    return max(shares), {name: sorted(errors)[min(1, len(errors) - 1)] for name, errors in groups.items()}


def _update_error(hyperparameters: HyperParameters, start: Tensor, vector: Tensor, moment: Tensor) -> float:
    """Compare all parameters with what the definition makes of the gradient that the moment tells."""
    optimizer = FleetOptimizer(1, len(start), torch.float64)
    optimizer.load(0, hyperparameters.optimizer)
    gradient = moment / OPTIMIZERS[hyperparameters.optimizer].c1
    expected, changed = start.float().double(), gradient != 0
    optimizer.update(expected[None], gradient[None], torch.full((1, 1), _RATE, dtype=torch.float64))
    return _error((vector - start.float())[changed], (expected - start.float())[changed])


def _error(got: Tensor, true: Tensor) -> float:
    """Return the relative error; infinity for a NaN, which would sort anywhere."""
    error = ((got - true).norm() / true.norm()).item()
    return error if error == error else float("inf")
