"""Does a card compute what it should? A step of a fleet and a scoring, as in a build, against plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import DeviceFleet
from builders.compute.evaluation import FoldedNetwork
from builders.compute.plain import PlainTraining
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.initialization import initial_vector
from nws_data.errors import BuildError
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES, FIXED_ARCHITECTURE, HyperParameters

ALLOWED = {"float64": 1e-6, "float32": 1e-2, "tf32": 0.1, "bfloat16": 0.3}
"""Relative error of a tensor's gradient that rounding can make: of nearly equal cells of a pool another one gets it, and in
bfloat16 many are. Measured at a batch of 32 on a CPU: 1e-4 in float32, 0.08 in bfloat16; a wrong kernel makes about 1."""

ALLOWED_SCORES = 0.02
"""Share of images that the plain network may classify otherwise, of near ties; for a wrong kernel it is about a tenth."""

_RATE, _MOST_SCORED = 0.001, 500
_NEXT = (
    "Nothing was trained with it. Try another version of torch and triton, or --device cpu; `python -m "
    "benchmarks.speed.cards smoke` shows which kernels are wrong"
)
_BATCH_STATISTICS = ("mean", "variance")


def check_fleet(fleet: DeviceFleet, shape: Shape, bank: DeviceBank, precision: str) -> None:
    """Take a step with every activation, as far as there are slots, score the networks, and leave the slots free.

    The first shape of a process takes seconds, in which PyTorch loads its libraries, others a fraction of one.

    Raises:
        BuildError: a tensor differs from the plain backend's by more than rounding, or a score from the plain network's.
    """
    if not (share := scoring_error(fleet, shape, bank)) <= ALLOWED_SCORES:
        raise BuildError(
            f"--device {fleet.device}: of {shape.architecture}, {share:.0%} of the images are scored otherwise than by the "
            f"plain network, allowed {ALLOWED_SCORES:.0%}. {_NEXT}"
        )
    errors, allowed = step_errors(fleet, shape, bank, precision), ALLOWED[precision]
    wrong = {place: error for place, error in errors.items() if not error <= allowed}
    if wrong:
        place = max(wrong, key=lambda name: wrong[name] if wrong[name] == wrong[name] else float("inf"))
        raise BuildError(
            f"--device {fleet.device}: a training step in {precision} is not that of the plain backend: of "
            f"{shape.architecture} with batches of {shape.batch_size}, {place} is off by {wrong[place]:.2g} of its size, "
            f"allowed {allowed:g} ({len(wrong)} tensors are wrong). {_NEXT}"
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


def scoring_error(fleet: DeviceFleet, shape: Shape, bank: DeviceBank) -> float:
    """Return the largest share of images, over the activations, that a fleet scores otherwise than the plain network."""
    shares = []
    with fleet.turn():
        trainings = load_made_up(fleet, shape, bank, range(4))
        fleet.run(1)  # running statistics are others than at first, then
        for slot, planned in enumerate(trainings):
            fleet.evaluate(slot)
            (rows,) = fleet.scored(slot)
            images, labels = bank.gather(rows)
            network = FoldedNetwork(fleet.vectors[slot], shape.architecture, planned.hyperparameters.activation)
            correct = network.logits(images).argmax(1) == labels
            shares.append((correct != fleet.correct[: len(rows)]).double().mean().item())
        for slot in range(len(trainings)):
            fleet.clear(slot)
    return max(shares)


def step_errors(fleet: DeviceFleet, shape: Shape, bank: DeviceBank, reference: str) -> dict[str, float]:
    """Return the relative errors of a step by place, such as ``"the gradient of conv1 kernel (elu, adam)"``.

    ``reference`` is the precision of the plain backend.
    """
    errors: dict[str, float] = {}
    with fleet.turn():
        trainings = load_made_up(fleet, shape, bank, range(4))
        n = len(trainings)
        fleet.run(1)
        found = [t[:n].to(torch.float64, copy=True) for t in (fleet.vectors, fleet.state.optimizer.m)]
        for slot in range(n):
            fleet.clear(slot)
        name, item = next(iter(bank.host.sets.items()))
        rows = torch.arange(shape.batch_size, device=bank.device) % item.n_train + bank.first_row(name, "train")
        images, labels = bank.gather(rows)
        for planned, vector, moment in zip(trainings, *found, strict=True):
            hyperparameters, plain = planned.hyperparameters, PlainTraining(shape, reference, bank.device)
            start = initial_vector(hyperparameters, planned.seed)
            plain.load(start, hyperparameters, planned.seed)
            plain.step(images, labels, 0, _RATE)
            expected = plain.vector.double(), plain.moment.double()
            errors |= _errors(shape.architecture, hyperparameters, (vector, moment), expected, start.to(vector.device))
    return errors


def _errors(
    architecture: Architecture,
    hyperparameters: HyperParameters,
    found: tuple[Tensor, Tensor],
    expected: tuple[Tensor, Tensor],
    start: Tensor,
) -> dict[str, float]:
    """Compare vectors and first moments, which are the gradients times a constant, tensor by tensor."""
    errors, who = {}, f"({hyperparameters.activation}, {hyperparameters.optimizer})"
    for layer in architecture.layers:
        for tensor in layer.tensors:
            if tensor.kind == "bias" and layer.has_norm:
                continue  # its gradient is rounding noise
            pairs = {}
            if tensor.kind not in _BATCH_STATISTICS:
                pairs["gradient"] = tuple(moment[tensor.slice] for moment in (found[1], expected[1]))
            if hyperparameters.optimizer != "adam":  # whose first step is the gradient's sign: rounding shows
                pairs["change"] = tuple((vector - start)[tensor.slice] for vector in (found[0], expected[0]))
            for what, (got, true) in pairs.items():
                errors[f"the {what} of {layer.name} {tensor.kind} {who}"] = ((got - true).norm() / true.norm()).item()
    return errors
