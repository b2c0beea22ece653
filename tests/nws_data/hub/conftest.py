"""A hub and a person's process beside it, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TinyDataset
from tests.nws_data.hub.client import Client
from tests.nws_data.hub.hub_server import Hub, serve


@pytest.fixture(scope="session")
def served() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


@pytest.fixture
def hub(served: Hub, tiny_dataset: TinyDataset) -> Hub:
    served.publish(tiny_dataset.root)
    served.log.clear()
    return served


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(served: Hub, home: Path) -> Iterator[Client]:
    client = Client(served.url, home / "hf", home)
    yield client
    client.close()


@pytest.fixture(scope="session")
def newer(sound: Path) -> Path:
    """What the repository holds later: another dataset."""
    return sound
