"""Small data for all tests: a factory of trainings with random weights, and datasets that the real writer wrote."""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from nws_data.format.manifest import Manifest
from nws_data.format.records import TrainingRecord
from nws_data.format.shards import SHARD_SIZES
from nws_data.randomness import GENERATOR
from nws_data.space.architecture import Architecture
from nws_data.space.hyperparameters import sample_many
from nws_data.space.identity import training_id, training_seed
from nws_data.space.image_sets import ImageSet, threshold_of
from nws_data.write.writer import write_dataset

ROOT = Path(__file__).parents[1]
# What is cached, compiled kernels above all, outlives a run and goes with `make clean`; features are those of one run.
CACHE = ROOT / ".pytest_cache" / "user"


@functools.cache  # reading all those files takes longer than some tests
def cached_folder(name: str, *packages: str) -> Path:
    """Return a folder that outlives a run, and is new when code under ``packages``, Python or torch is other than then."""
    import torch  # only here: see pytest_configure

    digest = hashlib.sha256(f"{sys.version} {torch.__version__} {torch.backends.cpu.get_cpu_capability()}".encode())
    for path in sorted(path for package in packages for path in (ROOT / package).rglob("*.[pch]*")):
        if path.suffix in (".py", ".c", ".h"):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    folder = CACHE / name / digest.hexdigest()[:16]
    for other in (CACHE / name).glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` has filled, once for all processes and runs: never change its files."""
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder / "data", ignore_errors=True)
            (folder / "data").mkdir()
            make(folder / "data")
            (folder / "made").touch()
    return folder / "data"


def dataset_folder(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of a dataset for reading; see :func:`made_once`."""
    return made_once(cached_folder("datasets", "nws_data", "tests") / name, make)


FIRST = (
    ("tests/builders/run/test_ray.py", "tests/baselines/dmc/test_method.py"),
    (
        "tests/crash/",
        "tests/benchmarks/test_quickstart.py",
        "tests/benchmarks/test_cards_speed.py",
        "tests/builders/compute/cards/kernels/",
        "tests/nws_data/tasks/test_lightning.py",
    ),
    (
        "tests/test_site.py",
        "tests/builders/test_build.py",
        "tests/benchmarks/findings/test_embedding.py",
        "tests/benchmarks/reference/",
        "tests/nws_data/format/test_card.py",
        "tests/test_docs.py",
    ),
)
"""What takes longest, not all that is slow: workers that are done take over what others have last, which should be quick."""


@pytest.hookimpl(trylast=True)  # when those of other marks are gone, which would shift the heads
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker of pytest-xdist begin with what takes longest, so that none is left with it in the end.

    ``--dist worksteal`` hands a third of the tests, in their order, to each of three workers.
    """
    heads = [[item for item in items if item.nodeid.startswith(names)] for names in FIRST]
    first = {item for head in heads for item in head}
    rest = [item for item in items if item not in first]
    n_items, items[:] = len(items), []
    for i, head in enumerate(heads, 1):
        n = max(0, n_items * i // len(FIRST) - len(items) - len(head))
        items += [*head, *rest[:n]]
        del rest[:n]
    items += rest


def pytest_configure(config: pytest.Config) -> None:
    """Give all tests, and the processes that they start, a user's cache of their own."""
    os.environ["XDG_CACHE_HOME"] = str(CACHE)
    if not hasattr(config, "workerinput"):
        shutil.rmtree(CACHE / "nws" / "features", ignore_errors=True)
    if config.getoption("numprocesses", None):
        return  # the process that starts the workers: it runs no test, and they would wait for its import of torch
    import torch

    if not torch.cuda.is_available():  # Triton reads it once, when it is first imported; torchvision does that
        os.environ["TRITON_INTERPRET"] = "1"


gc.set_threshold(200_000, 20, 50)  # pytest keeps so many objects that looking through them takes a twentieth of the time
os.fsync = lambda descriptor: None  # no test cuts the power, and each sync takes ten milliseconds
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # UMAP's functions take longer to compile than to run on few points

BUILD_SEED = 5
IMAGE_SETS = tuple(
    ImageSet(
        name=name, threshold=threshold_of(name), source=f"made up for tests: {name}", n_train=60, n_test=20, digest=name * 3
    )
    for name in ("mnist", "digits")
)
PLANS = {
    population: {"build_seed": BUILD_SEED, "image_sets": [[s.name, s.digest] for s in IMAGE_SETS], "epoch_cap": 40}
    for population in ("fixed", "random")
}
CARD_TEMPLATE = (Path(__file__).parent.parent / "dataset_card.md").read_text()

# Splits of these plan indices follow from the ids alone. fixed: 18 / 2 / 10 of every 30, random: 90 / 10 / 30 of 130.
INDICES = {"fixed": tuple(range(8)), "random": tuple(range(24))}
NON_FINITE = ("random-000006",)  # of split train; its last snapshot holds a NaN and an infinity
_SMALL = {"filter_size": 3, "depth_conv": 3, "width_conv": 16, "width_fc": 64}


def make_record(population: str, index: int, *, build_seed: int = BUILD_SEED, small: bool = True) -> TrainingRecord:
    """Return a training as a builder would stage it, with weights and curves drawn at random from its id.

    The hyper-parameters are those of the plan, but ``small`` gives ``random`` narrow nets (depth_fc 3 to 5 stays).
    """
    seed = training_seed(build_seed, population, index)
    rng = np.random.default_rng(seed)
    drawn = next(sample_many([seed], population, [s.name for s in IMAGE_SETS]))
    values = drawn.to_dict() | (_SMALL if small and population == "random" else {})
    hyperparameters = type(drawn).from_dict(values)
    n_weights = Architecture.of(hyperparameters).n_weights
    n_epochs = int(rng.integers(19, 41))
    curves = np.sort(rng.uniform(0.05, rng.uniform(0.2, 0.99), (3, n_epochs + 1)), axis=1).tolist()
    weights = rng.standard_normal((20, n_weights), dtype=np.float32)
    if training_id(population, index) in NON_FINITE:
        weights[-1, :2] = np.nan, np.inf
    return TrainingRecord(
        training=training_id(population, index),
        seed=seed,
        hyperparameters=hyperparameters,
        snapshot_epochs=tuple(int(e) for e in np.rint(np.linspace(0, n_epochs, 20))),
        snapshot_stride=1,
        train_accuracy=tuple(curves[0]),
        validation_accuracy=tuple(curves[1]),
        test_accuracy=tuple(curves[2]),
        stop_reason="cap" if n_epochs == 40 else "falling",
        generator=GENERATOR,
        compute_path="test",
        precision="float32",
        device="cpu",
        torch_version="2.15.0",
        wall_s=float(index),
        finished_at="2026-01-01T00:00:00Z",
        host="test",
        nws_version="0.1.0",
        python_version="3.11.7",
        weights=weights,
    )


def stage(folder: Path, population: str, indices: Iterable[int]) -> list[Path]:
    """Stage trainings made by :func:`make_record` where they are not there; return their files."""
    paths = {index: folder / f"{training_id(population, index)}.safetensors" for index in indices}
    for index, path in paths.items():
        if not path.exists():
            make_record(population, index).save(path)
    return list(paths.values())


def write(root: Path, population: str, records: list[Path], shard_sizes: tuple[int, ...] = SHARD_SIZES) -> Manifest:
    """Write staged trainings into ``root`` by the real writer, with the tests' plan, image sets and card."""
    return write_dataset(
        root,
        populations={population: (PLANS[population], records)},
        image_sets=IMAGE_SETS,
        card_template=CARD_TEMPLATE,
        shard_sizes=shard_sizes,
    )


@dataclass(frozen=True)
class TinyDataset:
    """A dataset for reading tests: never change its files."""

    root: Path
    manifest: Manifest
    staged: dict[str, list[Path]]  # population: staging files in plan order

    def record(self, training: str) -> TrainingRecord:
        """Return the training as it was staged: the oracle of what a reader must give."""
        population = training.split("-", maxsplit=1)[0]
        return TrainingRecord.load(self.staged[population][0].with_name(f"{training}.safetensors"))


@pytest.fixture(scope="session")
def tiny_dataset() -> TinyDataset:
    """Both populations in a folder named ``nws``: 8 fixed trainings and 24 small random ones, several shards each."""

    def make(folder: Path) -> None:
        (folder / "staged").mkdir()
        for population, indices in INDICES.items():
            paths = stage(folder / "staged", population, indices)
            write(folder / "nws", population, paths, shard_sizes=(10_000_000, 15_000_000))

    folder = dataset_folder("tiny", make)
    staged = {population: stage(folder / "staged", population, indices) for population, indices in INDICES.items()}
    return TinyDataset(folder / "nws", Manifest.load(folder / "nws"), staged)
