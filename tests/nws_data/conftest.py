import shutil
from pathlib import Path

import pytest

from tests.conftest import stage, write


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small trainings: three tests, one validation, two train in two shards."""
    folder = tmp_path_factory.mktemp("sound")
    write(folder / "nws", "random", stage(folder, "random", range(6)), shard_sizes=(1,))
    return folder / "nws"


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "nws"))
