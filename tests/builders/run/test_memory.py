"""The memory of workers: the estimate is above what real ones take, and limits follow from it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from builders.build import build
from builders.compute.compute_path import default_cpu_backend
from builders.plan.fleet_shape import FleetShape
from builders.run.memory import available_bytes, parse_size, plan_memory, size_text, worker_bytes
from builders.run.processes import are_forked
from nws_data.cli import main
from nws_data.errors import BuildError
from nws_data.format.manifest import Manifest
from tests.builders.conftest import planned
from tests.builders.test_build import config
from tests.crash.compare import differences

LARGEST = {"filter_size": 7, "depth_conv": 5, "depth_fc": 5, "width_conv": 48, "width_fc": 192}
TOLERANCE = 1.6  # how far an estimate may be above the measured peak


def shape(**changes) -> FleetShape:
    return FleetShape.of(planned(0, **changes).hyperparameters)


def measured(bank, folder, shapes, **options) -> int:
    """Return the bytes that a process takes which trains fleets of these shapes one after another."""
    values = {
        "bank": str(bank.folder),
        "folder": str(folder),
        "cap": 19,
        "precision": "float32",
        "backend": "portable",
        "spill": False,
        "n": 4,
        "forked": are_forked("cpu"),
    }
    command = [sys.executable, "-m", "tests.builders.worker_memory", json.dumps(values | {"shapes": shapes} | options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["native", "portable"])
def test_the_estimate_is_an_upper_bound(bank, tmp_path, precision, backend):
    shapes = [{"batch_size": 64, "activation": "tanh"}, LARGEST, {"filter_size": 5, "width_conv": 48, "activation": "elu"}]
    took = measured(bank, tmp_path, shapes, precision=precision, backend=backend, n=2 if backend == "native" else 4)
    forked = are_forked("cpu")
    estimate = max(worker_bytes(shape(**changes), precision, backend, 19, forked=forked) for changes in shapes)
    assert took <= estimate <= TOLERANCE * took


@pytest.mark.slow
def test_the_estimate_of_a_worker_that_started_afresh(bank, tmp_path):
    took = measured(bank, tmp_path, [LARGEST], n=1, forked=False)
    assert took <= worker_bytes(shape(**LARGEST), "float32", "portable", 19) <= TOLERANCE * took


@pytest.mark.slow
def test_a_long_training_stays_in_its_bound(bank, tmp_path):
    # 150 evaluations, more than twice what a buffer holds.
    wide, forked = {"width_fc": 192}, are_forked("cpu")
    took = measured(bank, tmp_path, [wide], n=2, cap=149)
    bound = worker_bytes(shape(**wide), "float32", "portable", 1000, forked=forked)
    assert took <= bound == worker_bytes(shape(**wide), "float32", "portable", 149, forked=forked)
    (tmp_path / "spilled").mkdir()
    spilled = measured(bank, tmp_path / "spilled", [wide], n=2, cap=149, spill=True)
    assert spilled <= worker_bytes(shape(**wide), "float32", "portable", 1000, spill=True, forked=forked) < bound
    assert took - spilled > 40 * 2 * 4 * shape(**wide).architecture.n_weights  # 40 of 64 vectors of 2 members
    digests = [
        [hashlib.sha256(path.read_bytes()[-100_000:]).hexdigest() for path in sorted(folder.glob("*.safetensors"))]
        for folder in (tmp_path, tmp_path / "spilled")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_the_limit_decides_on_workers_then_on_files():
    options = {
        "precision": "float32",
        "backend": "portable",
        "epoch_cap": 1000,
        "bank_bytes": 0,
        "n_images": 100,
        "workers": 8,
    }
    roomy = plan_memory([shape(), shape(**LARGEST)], limit=10**12, **options)
    assert (roomy.n_workers, roomy.spill) == (8, False)
    assert roomy.worker == worker_bytes(shape(**LARGEST), "float32", "portable", 1000, n_images=100)
    assert plan_memory([shape(**LARGEST)], limit=roomy.total, **options).n_workers == 8
    for limit in (roomy.total - 1, 6 * 10**9, 3 * 10**9):
        tight = plan_memory([shape(**LARGEST)], limit=limit, **options)
        assert 1 <= tight.n_workers <= 8 and tight.total <= limit
    assert tight.spill
    with pytest.raises(BuildError, match=r"--memory 500 MB is too little .* Give at least --memory (\d+)MB") as error:
        plan_memory([shape(**LARGEST)], limit=parse_size("500MB"), **options)
    enough = parse_size(str(error.value).split("at least --memory ")[1].split(",")[0])
    assert plan_memory([shape(**LARGEST)], limit=enough, **options).n_workers == 1


def test_files_only_where_they_allow_more_workers():
    options = {
        "precision": "float32",
        "backend": "portable",
        "epoch_cap": 19,
        "bank_bytes": 0,
        "n_images": 100,
        "workers": 1,
    }
    assert not plan_memory([shape()], limit=10**10, **options).spill


@pytest.mark.parametrize("text", ["", "٤GB", "4", "GB", "-1GB", "4 KB", "0GB", "1e9"])
def test_sizes_that_are_none(text, capsys):
    options = ["--population", "fixed", "--trainings", "1", "--images", "digits"]
    assert main(["build", *options, f"--memory={text}"]) == 2
    assert f"--memory must be a number and MB, GB or TB, such as 4GB, got {text!r}" in capsys.readouterr().err


def test_a_size_beyond_all_numbers_is_refused_and_shortened(capsys):
    assert main(["plan", "--population", "fixed", "--trainings", "1", "--images", "digits", f"--memory={'9' * 400}TB"]) == 2
    assert f"got '{'9' * 40}...'" in capsys.readouterr().err


def test_sizes():
    assert (parse_size("4GB"), parse_size("1.5 gb"), parse_size("200MB")) == (4 * 10**9, 15 * 10**8, 2 * 10**8)
    assert (size_text(1.25e9), size_text(2.5e7)) == ("1.2 GB", "25 MB")


def test_a_build_with_its_snapshots_in_files_gives_the_same_bytes(tmp_path, capsys):
    build(config(tmp_path / "nws", fixed=2))
    jobs = [
        FleetShape.of(planned(0, filter_size=5, width_conv=32, width_fc=128, batch_size=b).hyperparameters) for b in (32, 64)
    ]
    need = plan_memory(
        jobs,
        backend=default_cpu_backend(),
        precision="float32",
        epoch_cap=19,
        bank_bytes=10**6,
        n_images=120,
        workers=1,
        limit=10**12,
        forked=are_forked("cpu"),
    )
    build(config(tmp_path / "small", fixed=2, workers=8, memory=need.shared + need.worker + 10**6))
    assert differences(tmp_path / "small", tmp_path / "nws") == []
    assert "of memory are enough for 1 of 8 workers" in capsys.readouterr().err
    with pytest.raises(BuildError, match="too little for this build"):
        build(config(tmp_path / "none", fixed=2, memory=10**8))
    assert not (tmp_path / "none").exists()
    assert Manifest.load(tmp_path / "small").populations["fixed"].n_trainings == 2


def test_free_memory_of_a_machine_and_of_its_groups(tmp_path):
    proc, cgroup = tmp_path / "proc", tmp_path / "sys/fs/cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    assert available_bytes(tmp_path) == 8_000_000 * 1024
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/jobs/a\n0::/b/c\n")
    (cgroup / "memory/jobs/a").mkdir(parents=True)
    (cgroup / "memory/jobs/memory.limit_in_bytes").write_text("5000000000\n")  # a limit above the group counts too
    (cgroup / "memory/jobs/memory.usage_in_bytes").write_text("1000000000\n")
    (cgroup / "memory/jobs/memory.stat").write_text("inactive_file 3\ntotal_inactive_file 200000000\n")
    assert available_bytes(tmp_path) == 4_200_000_000
    (cgroup / "b/c").mkdir(parents=True)
    (cgroup / "b/c/memory.max").write_text("max\n")
    (cgroup / "b/c/memory.current").write_text("1\n")
    (cgroup / "b/memory.max").write_text("3000000000\n")
    (cgroup / "b/memory.current").write_text("1000000000\n")
    (cgroup / "b/memory.stat").write_text("inactive_file 500000000\n")
    assert available_bytes(tmp_path) == 2_500_000_000
    assert available_bytes() > 10**8
