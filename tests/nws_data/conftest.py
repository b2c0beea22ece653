import shutil
from pathlib import Path

import pytest

from tests.conftest import dataset_folder, stage, write


@pytest.fixture(scope="session")
def sound() -> Path:
    """Six small trainings: three tests, one validation, two train in two shards."""

    def make(folder: Path) -> None:
        write(folder / "nws", "random", stage(folder, "random", range(6)), shard_sizes=(1,))

    return dataset_folder("sound", make) / "nws"


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "nws"))
