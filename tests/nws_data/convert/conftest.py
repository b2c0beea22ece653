"""The release and what was imported of it, for the tests of this folder: never change their files."""

from pathlib import Path

import pytest

from nws_data.convert.original import import_original
from tests.nws_data.convert.release import Release, make_release


@pytest.fixture(scope="session")
def release(tmp_path_factory) -> Release:
    return make_release(tmp_path_factory.mktemp("original") / "release")


@pytest.fixture(scope="session")
def nws(release, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "nws"
    import_original(release.root, out)
    return out
