"""Data for the tests of methods."""

from pathlib import Path

import pytest

from tests.baselines.planted import write_planted


@pytest.fixture(scope="session")
def planted_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a dataset with known signals; see :mod:`tests.baselines.planted`."""
    return write_planted(tmp_path_factory.mktemp("planted"))
