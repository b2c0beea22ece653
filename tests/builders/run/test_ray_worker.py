"""What a node says of an order that it cannot follow: asked of the task itself, in this process, not of a Ray that runs it.

That such a message ends the build is tested in ``test_ray.py``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from builders.compute.compute_path import path_of
from builders.plan.jobs import Job
from builders.run import ray_worker
from builders.run.workspace import staging_token
from nws_data.errors import BuildError
from tests.builders.conftest import planned


@pytest.fixture
def refusal(settings, staged, worker_path) -> Callable[..., str]:
    """Return a function that orders a job, and returns the one message that there is."""

    def refusal_of(version: str = torch.__version__, token: str | None = None, **changes) -> str:
        path = path_of(settings.backend, settings.precision)
        with staging_token(settings.staging) as mine:
            order = pickle.dumps((Job((planned(0),)), replace(settings, token=token or mine, **changes)))
            (message,) = ray_worker.run_order(order, settings.staging, token or mine, version, path)
        assert isinstance(message, BuildError)
        assert staged() == set()
        return str(message)

    return refusal_of


def test_a_node_with_another_torch_is_refused(refusal):
    message = refusal(version="2.0.0")
    assert re.search(r"node .* has torch .*, this machine 2\.0\.0.*install the same version", message)
    assert str(torch.__version__) in message


def test_a_node_that_does_not_see_the_folder_is_refused(refusal, monkeypatch):
    monkeypatch.setattr(ray_worker, "_PATIENCE_S", 0.0)
    message = refusal(token="token-that-is-gone")
    assert re.search(r"does not see the build's folder .*trainings: --out has to lie on a file system", message)


def test_an_error_of_the_job_is_one_clear_message(refusal, settings):
    message = refusal(images=settings.staging)
    assert re.search(r"node .*: .*is no image bank", message)
    assert "Traceback" not in message
