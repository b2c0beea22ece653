"""Whole trainings: the same bits in any company, the oracle's values, and records as the format wants them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import builders.compute.lane
from builders.compute import trainer
from builders.compute.backend import CPU_BACKENDS
from builders.compute.lane import Steps
from builders.compute.trainer import open_backend
from builders.images.bank import ImageBank
from builders.plan.shape import training_flop
from builders.plan.trainings import PlannedTraining
from builders.recipe.augmentation import augment, to_float
from builders.recipe.epochs import split_images
from builders.recipe.initialization import initial_vector
from nws_data.format.records import TrainingRecord
from nws_data.space.architecture import Architecture
from tests.builders.builds import assert_same
from tests.builders.compute.oracle import Oracle, dropout_mask
from tests.builders.conftest import epoch_batches, planned

CAP = 19


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def train(
    trainings: list[PlannedTraining], bank: ImageBank, epoch_cap: int = CAP, *, backend: str, precision="float32"
) -> dict[str, TrainingRecord]:
    """Train one after another; return the records by id."""
    events = trainer.train(trainings, open_backend(backend, bank, precision), epoch_cap=epoch_cap)
    records = [event for event in events if isinstance(event, TrainingRecord)]
    assert len({record.training for record in records}) == len(records) == len(trainings)
    return {record.training: record for record in records}


def mixed(n: int, **changes) -> list[PlannedTraining]:
    """Trainings of one shape that differ in all that a fleet may mix."""
    optimizers, initializations = ("adam", "rmsprop", "momentum"), ("glorot_uniform", "random_normal", "constant")
    return [
        planned(
            i,
            dataset=("digits", "colour")[i // 2 % 2],
            augmentation=i % 2 == 1,
            optimizer=optimizers[i % 3],
            initialization=initializations[i % 3],
            learning_rate=0.001 + 0.0005 * i,
            **changes,
        )
        for i in range(n)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "n", "changes"),
    [
        ("float32", 3, {"activation": "elu"}),
        ("float32", 3, {"batch_norm": False, "activation": "tanh"}),
        ("bfloat16", 2, {}),  # emulated on many machines
    ],
)
def test_the_same_bits_in_any_company(bank, worker_path, backend, precision, n, changes):
    trainings = mixed(n, **changes)
    together = train(trainings, bank, precision=precision, backend=backend)  # the augmenting one first, then in order
    for training in trainings:
        (alone,) = train([training], bank, precision=precision, backend=backend).values()
        assert_same(together[training.id], alone)
    assert len({record.weights[-1].tobytes() for record in together.values()}) == n


@pytest.mark.slow
def test_a_longer_cap_begins_with_the_same_epochs(bank, worker_path, backend):
    (training,) = mixed(1)
    short, long = (train([training], bank, cap, backend=backend)[training.id] for cap in (19, 23))
    assert long.n_epochs == 23 and short.n_epochs == 19
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        assert getattr(long, name)[:20] == getattr(short, name)
    assert long.weights[0].tobytes() == short.weights[0].tobytes()


@pytest.mark.slow
def test_records_are_as_the_format_wants_them(bank, worker_path, backend):
    trainings = mixed(3)
    records = train(trainings, bank, backend=backend)
    for training in trainings:
        record = records[training.id]
        assert record.n_epochs == 19 and record.stop_reason in ("cap", "falling")
        assert record.snapshot_epochs == tuple(range(20)) and record.snapshot_stride == 1
        for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
            assert len(getattr(record, name)) == 20
        expected = initial_vector(training.hyperparameters, training.seed).float().numpy()
        assert np.array_equal(record.weights[0], expected)
        assert np.isfinite(record.weights).all()
        assert len({row.tobytes() for row in record.weights}) == 20


def oracle_vectors(bank: ImageBank, training: PlannedTraining) -> list[np.ndarray]:
    """The oracle's weights before and after each of 19 epochs."""
    hp, seed = training.hyperparameters, training.seed
    images, labels = bank.images(hp.dataset, "train"), bank.labels(hp.dataset, "train")
    split, oracle, step = split_images(len(labels), seed), Oracle(hp, initial_vector(hp, seed)), 0
    vectors = [oracle.vector().numpy().copy()]
    for epoch in range(CAP):
        for rows in epoch_batches(split, labels, seed, epoch, 32):
            batch = augment(images[rows], seed, step) if hp.augmentation else to_float(images[rows])
            keep = dropout_mask(seed, step, 32, 64 + 32)
            oracle.step(batch.double(), labels[rows].long(), keep, epoch)
            step += 1
        vectors.append(oracle.vector().numpy().copy())
    return vectors


@pytest.fixture(scope="module")
def expected(bank) -> dict[PlannedTraining, list[np.ndarray]]:
    """What two trainings must give, by the oracle."""
    changes = ({"optimizer": "rmsprop", "augmentation": True}, {"dataset": "colour"})
    trainings = [planned(11 + i, activation="elu", **one) for i, one in enumerate(changes)]
    return {training: oracle_vectors(bank, training) for training in trainings}


@pytest.mark.slow
def test_trainings_equal_the_oracles(bank, worker_path, backend, expected):
    records = train(list(expected), bank, precision="float64", backend=backend)
    for training, vectors in expected.items():
        assert np.abs(records[training.id].weights - vectors).max() < 1e-6


@pytest.mark.slow
def test_a_training_learns(bank, worker_path, backend):
    training = planned(1, learning_rate=0.005)
    record = train([training], bank, 40, backend=backend)[training.id]
    assert record.train_accuracy[0] < 0.5 < record.train_accuracy[-1]
    assert record.test_accuracy[-1] > 0.4


@pytest.mark.slow
def test_a_non_finite_training_is_kept_and_harms_no_companion(bank, worker_path, backend, monkeypatch):
    trainings = mixed(2)  # the second augments, so it comes first
    healthy = train(trainings[:1], bank, backend=backend)

    def poisoned(hyperparameters, seed):
        vector = initial_vector(hyperparameters, seed)
        if seed == trainings[1].seed:
            vector[100] = float("inf")
        return vector

    monkeypatch.setattr(builders.compute.lane, "initial_vector", poisoned)
    records = train(trainings, bank, backend=backend)
    assert np.isnan(records[trainings[1].id].weights[-1]).any()
    assert records[trainings[1].id].n_epochs == 19
    assert_same(records[trainings[0].id], healthy[trainings[0].id])  # trained after it, in the same slot


@pytest.mark.slow
def test_a_training_that_diverges_is_kept_and_flagged(bank, worker_path, backend, tmp_path):
    # Without batch norm, standard normal kernels, ELU and momentum at the highest rate overflow by themselves.
    wild = {
        "batch_norm": False,
        "activation": "elu",
        "initialization": "random_normal",
        "optimizer": "momentum",
        "learning_rate": 0.005,
    }
    training, tame = planned(0, **wild), planned(1, batch_norm=False, activation="elu")
    records = train([training, tame], bank, backend=backend)
    record = records[training.id]
    assert np.isfinite(record.weights[0]).all() and not np.isfinite(record.weights[-1]).all()
    record.save(tmp_path / "staged.safetensors")
    loaded = TrainingRecord.load(tmp_path / "staged.safetensors")
    assert loaded.weights.tobytes() == record.weights.tobytes()
    assert_same(records[tame.id], train([tame], bank, backend=backend)[tame.id])


def test_steps_are_reported(bank, worker_path, backend):
    events = trainer.train(mixed(3), open_backend(backend, bank, "float32"), epoch_cap=CAP)
    flop = 32.0 * training_flop(Architecture.of(mixed(1)[0].hyperparameters))
    assert list(itertools.islice(events, 5)) == [Steps(32, flop)] * 5


def test_an_empty_queue_trains_nothing(bank):
    assert train([], bank, backend="plain") == {}
