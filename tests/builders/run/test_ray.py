"""The engine for clusters on a real Ray, whose workers and nodes are killed, unlike this machine, or lack something."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.build import build
from builders.config import BuildConfig
from builders.plan.jobs import Job
from builders.run.messages import Finished, Message, Progress
from builders.run.ray import run_jobs
from builders.run.ray_cluster import ROOT, _start_or_join, connected
from builders.run.worker import run_job
from nws_data.check.verify import verify
from nws_data.errors import BuildError
from nws_data.format.records import TrainingRecord
from tests.builders import builds
from tests.builders.conftest import planned
from tests.builders.run.ray_processes import (
    another_node,
    kill,
    processes_of,
    ray_cluster,
    ray_folder,
    stopped,
    wait_until,
    workers,
)
from tests.crash.compare import differences
from tests.processes import Process

N = 6  # trainings of a build


def config(out: Path, **changes) -> BuildConfig:
    return builds.config(out, N, **changes)


def start_build(out: Path, address: str, workers: int = 2) -> Process:
    """Start the same build as a command; not nice, since a Ray that it starts would be, and starve beside other tests."""
    return builds.start_build(out, "--engine", "ray", "--address", address, trainings=N, workers=workers, nice=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def built() -> Path:
    """The dataset of the local engine."""
    return builds.built(N)


@pytest.fixture
def singles() -> list[Job]:
    """Five jobs of one training each."""
    return [Job((planned(i),)) for i in range(5)]


@pytest.fixture
def run(cluster, settings) -> Callable[..., list[Message]]:
    """Return a function that runs jobs on the cluster and returns all messages."""

    def run_on_cluster(jobs: list[Job], on_message: Callable[[Message], None] = lambda message: None, **changes):
        messages: list[Message] = []

        def report(message: Message) -> None:
            messages.append(message)
            on_message(message)

        run_jobs(jobs, replace(settings, **changes), 1, report, cluster.address)
        return messages

    return run_on_cluster


def notices(messages: list[Message]) -> list[str]:
    return [message for message in messages if isinstance(message, str)]


def n_images(messages: list[Message]) -> int:
    return sum(message.n_images for message in messages if isinstance(message, Progress))


@pytest.mark.slow
def test_an_interrupted_build_goes_on_though_a_worker_is_killed_to_the_bytes_of_the_local_engine(
    cluster, built, tmp_path, capsys
):
    out = tmp_path / "nws"
    staging = out / ".build" / "trainings"
    process = start_build(out, cluster.address)
    wait_until(lambda: list(staging.glob("*.safetensors")) or process.ended(), "finished training")
    os.killpg(process.pid, signal.SIGINT)
    status, printed = process.wait(60), process.printed()
    assert status == 130, printed
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    kept = sorted(path.name for path in staging.iterdir())
    assert kept and all(name.endswith(".safetensors") for name in kept)
    wait_until(lambda: not workers(cluster.head_node), "end of the tasks")

    def strike() -> None:
        wait_until(lambda: len(list(staging.glob("*.safetensors"))) > len(kept), "finished training")
        kill(wait_until(lambda: workers(cluster.head_node), "worker at a job")[:1])

    with ThreadPoolExecutor() as pool:
        struck = pool.submit(strike)
        (report,) = build(config(out, engine="ray", address=cluster.address))
        struck.result()
    assert (report.n_trainings, report.n_new) == (N, N - len(kept))
    printed = capsys.readouterr().err
    assert "fixed: Ray: cluster at" in printed
    assert "starts again (1 of 3 retries)" in printed
    assert printed.splitlines()[-1] == f"fixed: {N}/{N} trainings"
    assert differences(out, built) == []
    assert verify(out).ok


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_a_ray_that_was_started_for_a_build_ends_with_it(tmp_path, number):
    with ray_folder() as folder:
        process = start_build(tmp_path / "nws", "local", workers=1)
        wait_until(lambda: list(tmp_path.glob("nws/.build/trainings/*.safetensors")), "finished training")
        assert len(processes_of(folder)) > 3
        os.kill(process.pid, number)
        process.wait(60)
        wait_until(lambda: not processes_of(folder), "end of Ray's processes")


@pytest.mark.slow
def test_messages_and_bits_are_those_of_a_worker_in_this_process(run, jobs, settings, worker_path, tmp_path):
    messages = run(jobs)
    assert {m.training for m in messages if isinstance(m, Finished)} == {p.id for job in jobs for p in job.trainings}
    here, mine = [], replace(settings, staging=tmp_path / "here")
    mine.staging.mkdir()
    for job in jobs:
        here += run_job(job, mine)
    assert n_images(messages) == n_images(here)  # none is lost and none counted twice
    for path in mine.staging.iterdir():
        staged = TrainingRecord.load(settings.staging / path.name)
        assert np.array_equal(staged.weights, TrainingRecord.load(path).weights)
    assert run([]) == []


@pytest.mark.slow
def test_workers_import_the_code_that_was_shipped(cluster, monkeypatch):
    monkeypatch.chdir(ROOT)  # which Ray would import from
    with connected(cluster.address, 1):
        import ray

        def places():
            import os

            import builders.run.ray_worker as worker
            import nws_data

            return worker.__file__, nws_data.__file__, os.environ["OMP_NUM_THREADS"]

        *files, threads = ray.get(ray.remote(places).remote())
    assert threads == "1"
    assert all(os.environ["RAY_TMPDIR"] in file for file in files)
    assert Path.cwd() == ROOT


@pytest.mark.slow
def test_the_jobs_of_a_node_that_dies_start_again_on_another(cluster, run, singles, staged):
    with another_node(cluster) as node, ThreadPoolExecutor() as pool:

        def strike() -> None:
            # Stopped, so that it cannot end the job before its node dies; the node does not end it then.
            at_a_job = wait_until(lambda: stopped(node), "worker at a job")
            cluster.remove_node(node, allow_graceful=False)
            kill(at_a_job)

        struck = pool.submit(strike)
        messages = run(singles)
        struck.result()
    assert staged() == {planned.id for job in singles for planned in job.trainings}
    assert any("starts again" in text for text in notices(messages))


@pytest.mark.slow
def test_a_node_that_computes_other_bits_is_left_unused_and_named(cluster, run, singles, staged, settings, monkeypatch):
    with another_node(cluster, ATEN_CPU_CAPABILITY="default"):
        messages = run(singles)
        unused = [text for text in notices(messages) if "left unused" in text]
        assert len(unused) == 1
        assert "computes by" in unused[0] and "DEFAULT" in unused[0]
        assert staged() == {planned.id for job in singles for planned in job.trainings}
        paths = {TrainingRecord.load(path).compute_path for path in settings.staging.glob("*.safetensors")}
        assert len(paths) == 1 and "DEFAULT" not in paths.pop()
    monkeypatch.setattr("builders.run.ray.path_of", lambda *_: "abacus")
    with pytest.raises(BuildError, match=r"no node computes as this machine does.*abacus"):
        run(singles[:1])


@pytest.mark.slow
def test_a_node_without_torch_says_so(cluster, run, singles, staged, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    messages: list[Message] = []
    with (
        another_node(cluster, PYTHONPATH=str(tmp_path / "broken")),
        pytest.raises(BuildError, match=r"node .* cannot import torch .*install the same packages on all nodes"),
    ):
        run(singles, messages.append)
    assert not any("starts again" in text for text in notices(messages))
    assert all(TrainingRecord.load(path) for path in tmp_path.glob("build/trainings/*.safetensors"))


def test_without_ray_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BuildError, match=r"pip install 'nws-data\[ray\]'"):
        build(config(tmp_path / "nws", engine="ray"))
    assert not (tmp_path / "nws").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "slurm"}, "--engine: got 'slurm'; choose one of local, ray"),
        ({"address": "head:6379"}, "--address head:6379 belongs to --engine ray"),
        ({"engine": "ray", "gpus_per_fleet": 0.0}, "--gpus-per-fleet must be above 0 and at most 1, got 0"),
        ({"engine": "ray", "gpus_per_fleet": 2.0}, "got 2"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(BuildError, match=message):
        config(Path("nws"), **options)


class SlowRay:
    """Ray where its node does not start in time: it raises this, of no other class."""

    def init(self, **_):
        raise Exception("The current node timed out during startup. This could happen.")


@pytest.mark.parametrize("address", ["local", None])
def test_a_ray_that_does_not_start_in_time_is_one_message(address, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(
        BuildError, match=r"timed out during startup. This could happen\. .*`ray status` shows.*--engine local"
    ):
        _start_or_join(SlowRay(), address, 2)
