"""Triton's launches compute what plain PyTorch does in float64, whatever the companions and the slot.

In the interpreter; on a card, on it. Float64 runs the same kernels with sums in float64.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.speed.card_checks import covering
from builders.compute.backend import compute_dtype, vector_dtype
from builders.compute.cards.bank import DeviceBank
from builders.compute.cards.fleet import PRODUCTS, SCORING
from builders.compute.cards.program import Program
from builders.compute.cards.state import State
from builders.compute.plain import PlainTraining
from builders.plan.shape import Shape
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import to_float
from builders.recipe.initialization import initial_vector
from builders.recipe.optimizers import epoch_rates
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import CLASSES
from tests.builders.compute.oracle import Oracle, dropout_mask
from tests.builders.conftest import planned

ODD = {"filter_size": 5, "depth_conv": 4, "depth_fc": 5, "width_conv": 48, "width_fc": 192}

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning:triton")  # NumPy's, in the interpreter


def start(training: PlannedTraining) -> Tensor:
    """The initial vector without ties: of equal values in a max-pool window either may get the gradient."""
    vector = initial_vector(training.hyperparameters, training.seed)
    generator = torch.Generator().manual_seed(training.seed % 2**32)
    return vector + 1e-7 * torch.randn(len(vector), generator=generator, dtype=torch.float64)


def rows_of(training: PlannedTraining, bank: DeviceBank, batch: int, steps: int) -> Tensor:
    first = bank.first_row[training.hyperparameters.dataset, "train"] + training.seed % 50
    return torch.arange(first, first + batch * steps, dtype=torch.int32, device=bank.device).view(steps, batch)


def run(
    trainings: dict[int, PlannedTraining],
    vectors: dict[int, Tensor],
    bank: DeviceBank,
    precision: str,
    batch: int,
    steps: int,
) -> State:
    """Take steps of trainings in their slots, one more of which is idle."""
    architecture = Architecture.of(next(iter(trainings.values())).hyperparameters)
    sizes = (max(trainings) + 2, architecture.n_weights, steps, batch)
    state = State(sizes, vector_dtype(precision), bank.device)
    for slot, training in trainings.items():
        hp = training.hyperparameters
        state.load(slot, training, vectors[slot])
        state.set_epoch(
            slot, rows_of(training, bank, batch, steps), epoch_rates(hp.optimizer, hp.learning_rate, 0, 0, steps)
        )
    program = Program(architecture, state, bank, compute_dtype(precision), PRODUCTS[precision])
    for _ in range(steps):
        program.run()
    return state


def oracle(training: PlannedTraining, vector: Tensor, bank: DeviceBank, batch: int, steps: int) -> tuple[Tensor, float]:
    """The vector after some steps, and the last loss."""
    hp, plain, loss = training.hyperparameters, Oracle(training.hyperparameters, vector), 0.0
    units = sum(hp.width_fc // 2**i for i in range(hp.depth_fc - 1))
    for step, rows in enumerate(rows_of(training, bank, batch, steps)):
        images, labels = (values.cpu() for values in bank.gather(rows))
        keep = dropout_mask(training.seed, step, batch, units)
        loss = plain.step(to_float(images).double(), labels.long(), keep, 0)
    return plain.vector(), loss


def plain_step(training: PlannedTraining, vector: Tensor, bank: DeviceBank, precision: str, batch: int) -> PlainTraining:
    """The plain backend after the step."""
    hp = training.hyperparameters
    plain = PlainTraining(Shape(Architecture.of(hp), batch), precision)
    plain.load(vector, hp, training.seed)
    images, labels = bank.gather(rows_of(training, bank, batch, 1)[0])
    plain.step(images.cpu(), labels.cpu(), 0, hp.learning_rate)
    return plain


def compare(trainings: dict[int, PlannedTraining], bank: DeviceBank, batch: int, steps: int) -> None:
    vectors = {slot: start(training) for slot, training in trainings.items()}
    state = run(trainings, vectors, bank, "float64", batch, steps)
    for slot, training in trainings.items():
        vector, loss = oracle(training, vectors[slot], bank, batch, steps)
        torch.testing.assert_close(state.vectors[slot].cpu(), vector, rtol=0, atol=1e-8)
        assert state.losses[slot].item() == pytest.approx(loss, abs=1e-10)
        assert state.slots[slot, 1:3].tolist() == [steps, steps]
    assert not state.vectors[-1].any() and not state.slots[-1].any()  # the idle one


def mixed(**changes) -> dict[int, PlannedTraining]:
    """Trainings that differ in all that a fleet mixes, but for the changes."""
    return {
        i: planned(
            i,
            **{
                "dataset": ("digits", "colour")[i % 2],
                "optimizer": CLASSES["optimizer"][i % 3],
                "activation": activation,
                "initialization": "glorot_normal",
                "learning_rate": 0.001,
            }
            | changes,
        )
        for i, activation in enumerate(CLASSES["activation"])
    }


@pytest.mark.slow
def test_two_steps_of_all_activations_and_optimizers(device_bank):
    compare(mixed(), device_bank, 2, 2)


@pytest.mark.slow
def test_a_step_without_batch_norm(device_bank):
    trainings = mixed(batch_norm=False)
    compare({0: trainings[1], 1: trainings[2]}, device_bank, 2, 1)


@pytest.mark.long
def test_batches_of_odd_size(device_bank):
    # Adam makes of the noise of biases before a norm, which have no true gradient, differences of 5e-8 in two steps.
    compare(mixed(**ODD, optimizer="momentum"), device_bank, 3, 2)


@pytest.mark.parametrize(
    "choose",
    [
        pytest.param(lambda shapes: shapes[:1], marks=pytest.mark.slow, id="sample"),
        pytest.param(list, marks=pytest.mark.long, id="all"),
    ],
)
@pytest.mark.parametrize("filter_size", CLASSES["filter_size"])
def test_every_layer_shape(device_bank, filter_size, choose):
    for i, architecture in enumerate(choose(covering(filter_size))):
        fields = {name: getattr(architecture, name) for name in ODD}
        activation = CLASSES["activation"][i % 4]
        compare({0: planned(i, activation=activation, optimizer="momentum", **fields)}, device_bank, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_rounding_is_that_of_plain_pytorch(device_bank, precision):
    # Of one training plain PyTorch's own error in a tensor of four values can be small by luck: three are taken together.
    settings = {"optimizer": "momentum", "activation": "tanh", "dataset": "colour", "initialization": "glorot_normal"}
    trainings = {i: planned(i + 1, **settings) for i in range(3)}
    starts = {i: start(training) for i, training in trainings.items()}
    state = run(trainings, starts, device_bank, precision, 4, 1).values[: len(trainings)].double().cpu()
    plain, true = (  # moments, which are the gradients; those of Triton in float64 are the same, see compare
        torch.stack([plain_step(trainings[i], starts[i], device_bank, p, 4).moment.double() for i in trainings])
        for p in (precision, "float64")
    )
    for layer in Architecture.of(trainings[0].hyperparameters).layers:
        for tensor in (tensor for tensor in layer.tensors if tensor.kind not in ("mean", "variance")):
            error, allowed = ((values - true)[:, tensor.slice].norm() for values in (state, plain))
            assert error <= 3 * allowed + 1e-6 * true[:, tensor.slice].norm(), (layer.name, tensor.kind)
            if layer.is_conv and tensor.kind == "bias":  # true is zero: what there is is noise, and there is some
                assert error > 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_slot_or_companions(device_bank, precision):
    trainings = {i: planned(i, optimizer=CLASSES["optimizer"][i], augmentation=i == 1) for i in range(2)}
    vectors = {slot: start(training) for slot, training in trainings.items()}
    together = run(trainings, vectors, device_bank, precision, 2, 1)
    spoilt = vectors[0].clone()
    spoilt[5] = float("nan")
    moved = run({0: trainings[0], 2: trainings[1]}, {0: spoilt, 2: vectors[1]}, device_bank, precision, 2, 1)
    assert moved.vectors[0].isnan().any()
    for name in ("vectors", "losses", "values"):
        assert torch.equal(getattr(together, name)[1], getattr(moved, name)[2]), name
    assert not torch.equal(together.vectors[0], together.vectors[1])


@pytest.mark.slow
def test_of_equal_cells_the_first_gets_the_gradient(device_bank):
    training = planned(3, initialization="constant", optimizer="momentum", learning_rate=0.005)
    vector = initial_vector(training.hyperparameters, training.seed)
    state = run({0: training}, {0: vector}, device_bank, "float64", 2, 1)
    plain = plain_step(training, vector, device_bank, "float64", 2)
    torch.testing.assert_close(state.vectors[0].cpu(), plain.vector, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_variance_survives_a_mean_far_from_zero(device_bank):
    training = planned(0, dataset="colour")
    vector = start(training)
    layer = Architecture.of(training.hyperparameters).layers[0]
    vector[layer["bias"].slice] = 3000  # E[x^2] - E[x]^2 in float32 would be off by about one
    found, expected = (
        run({0: training}, {0: vector}, device_bank, p, 2, 1).values[0].double() for p in ("float32", "float64")
    )
    for kind, bound in (("mean", 1e-6), ("variance", 1e-3)):
        assert (found - expected)[layer[kind].slice].norm() < bound * expected[layer[kind].slice].norm()


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_images_are_scored_as_by_the_plain_network(device_bank, batch_norm):
    training = planned(2, activation="elu", batch_norm=batch_norm)
    architecture, vector = Architecture.of(training.hyperparameters), start(training)
    generator = torch.Generator().manual_seed(0)
    for layer in (layer for layer in architecture.layers if layer.has_norm):
        for kind in ("beta", "gamma", "mean", "variance"):
            vector[layer[kind].slice] = 0.5 + torch.rand(layer[kind].shape, generator=generator, dtype=torch.float64)
    state = State((1, architecture.n_weights, 3, 2), torch.float32, device_bank.device)
    state.load(0, training, vector)
    state.rows.view(-1)[:5] = torch.arange(5, dtype=torch.int32)
    correct = torch.full((6,), 7, dtype=torch.uint8, device=device_bank.device)
    program = Program(architecture, state, device_bank, torch.float32, SCORING, correct)
    for _ in range(3):
        program.run()
    images, labels = device_bank.gather(torch.arange(5, device=device_bank.device))
    found = Oracle(training.hyperparameters, vector).forward(to_float(images.cpu()).double()).argmax(1) == labels.cpu()
    assert correct[:5].cpu().tolist() == found.int().tolist()
    assert torch.equal(state.vectors[0].cpu(), vector.float())


def test_of_outputs_with_a_nan_the_nan_is_the_largest(device_bank):
    training = planned(2)
    architecture, vector = Architecture.of(training.hyperparameters), start(training)
    state = State((1, architecture.n_weights, 1, 2), torch.float32, device_bank.device)
    images, labels = device_bank.gather(torch.arange(2, device=device_bank.device))
    vector[architecture.layers[-1]["bias"].start + int(labels[0])] = float("nan")  # of the output of the first image's label
    state.load(0, training, vector)
    state.rows[0, 0] = torch.arange(2, dtype=torch.int32)
    correct = torch.full((2,), 7, dtype=torch.uint8, device=device_bank.device)
    Program(architecture, state, device_bank, torch.float32, SCORING, correct).run()
    logits = Oracle(training.hyperparameters, vector).forward(to_float(images.cpu()).double())
    expected = logits.argmax(1) == labels.cpu()
    assert correct.tolist() == expected.int().tolist() and correct[0] == 1
