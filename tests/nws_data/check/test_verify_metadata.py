import shutil
from pathlib import Path
from typing import Any

import pytest

from nws_data.check.verify import verify
from nws_data.format.manifest import Manifest
from nws_data.format.metadata import (
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
)
from nws_data.randomness import GENERATOR
from nws_data.space.hyperparameters import CLASSES, SAMPLING
from nws_data.write.writer import write_dataset
from tests.conftest import BUILD_SEED, CARD_TEMPLATE, IMAGE_SETS, make_record, stage
from tests.nws_data.format.forging import forge, seal

PLAN = {
    "build_seed": BUILD_SEED,
    "image_sets": [[s.name, s.digest] for s in IMAGE_SETS],
    "sampling": SAMPLING,
    "epoch_cap": 40,
    "precision": "float32",
    "batch_norm": True,
    "compute_path": "test",
    "generator": GENERATOR,
}
"""A plan as the builder writes it, which the trainings of make_record keep to."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fixed training under a whole plan."""
    folder = tmp_path_factory.mktemp("planned")
    records = stage(folder, "fixed", range(1))
    populations = {"fixed": (PLAN, records)}
    write_dataset(folder / "nws", populations=populations, image_sets=IMAGE_SETS, card_template=CARD_TEMPLATE)
    assert verify(folder / "nws").problems == ()
    return folder / "nws"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("precision", "bfloat16", "fixed-000000: precision is 'float32', the plan says 'bfloat16'"),
        ("compute_path", "other", "fixed-000000: compute_path is 'test', the plan says 'other'"),
        ("generator", "dice", f"fixed-000000: generator is '{GENERATOR}', the plan says 'dice'"),
        ("batch_norm", False, "fixed-000000: batch_norm is True, the plan says False"),
        ("epoch_cap", 19, "epochs, the plan allows 19"),
        ("epoch_cap", "40", "plan of fixed: epoch_cap cannot be '40'"),
        ("sampling", True, "plan of fixed: sampling cannot be True"),
        ("image_sets", [["mnist", "0"]], "plan of fixed: image_sets lists no mnist with its digest"),
    ],
)
def test_trainings_that_are_not_of_the_plan(planned: Path, tmp_path: Path, key: str, value: Any, message: str) -> None:
    root = Path(shutil.copytree(planned, tmp_path / "nws"))
    seal(root, {}, lambda content: content["populations"]["fixed"]["plan"].update({key: value}))
    found = verify(root, deep=False).problems
    assert len(found) == 1
    assert message in found[0]
    seal(root, {}, lambda content: content["populations"]["fixed"]["plan"].pop(key))
    assert verify(root, deep=False).ok  # a plan that says nothing of it, as for imported trainings


def test_hyperparameters_that_were_not_drawn(planned: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(planned, tmp_path / "nws"))
    manifest = Manifest.load(root)
    drawn = make_record("fixed", 0).hyperparameters.optimizer
    other = next(name for name in CLASSES["optimizer"] if name != drawn)

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["optimizer"] = other

    (split, path), *_ = manifest.trainings.items()
    forge(root, path, TRAINING_SCHEMA, edit)
    forge(root, manifest.populations["fixed"].splits[split].metadata, SNAPSHOT_SCHEMA, edit)
    message = f"fixed-000000: optimizer not as drawn from build seed {BUILD_SEED}"
    assert verify(root, deep=False).problems == (message,)
    seal(root, {}, lambda content: content["populations"]["fixed"]["plan"].update(sampling=SAMPLING + 1))
    assert verify(root, deep=False).ok  # drawn by a version that this package does not know
    seal(root, {}, lambda content: content["populations"]["fixed"]["plan"].update(sampling=SAMPLING, build_seed=None))
    assert verify(root, deep=False).ok
