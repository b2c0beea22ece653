"""Tiers from a real HTTP server that speaks the hub's protocol, fetched by real processes."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from nws_data.check.verify import verify
from nws_data.errors import DownloadError
from nws_data.format.manifest import Manifest
from nws_data.format.partial import restricted
from nws_data.hashing import sha256_of
from nws_data.hub.pull import _check_space
from nws_data.hub.repository import Repository, parse_repository, translated_errors
from tests.conftest import TinyDataset
from tests.fuzz.mutants import copy
from tests.nws_data.format.forging import seal
from tests.nws_data.hub.client import Client, environment
from tests.nws_data.hub.hub_server import REPOSITORY, Hub

TIER = "40MB"
DESCRIPTIONS = ("README.md", "croissant.json", "trainings.svg")


def shard_paths(manifest: Manifest, tier: str) -> list[str]:
    return [shard.path for shard in restricted(manifest, tier).shards]


@pytest.mark.slow
def test_only_the_tier_is_fetched_and_a_larger_one_adds_the_rest(
    hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    out, manifest = tmp_path / "nws", tiny_dataset.manifest
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(out))
    tier = shard_paths(manifest, TIER)
    assert status == 0 and f"tier {TIER} of fixed, random, {len(tier)} shards" in text and hub.main[:12] in text
    assert sorted(p for p in hub.fetched() if p.startswith("weights/")) == sorted(tier)
    assert {*hub.fetched()} - {*tier} == {*manifest.sha256, *DESCRIPTIONS, "SHA256SUMS", "manifest.json"}
    assert len(hub.fetched()) <= len(set(hub.fetched())) + 1  # nothing twice; the manifest once to learn the commit
    report = verify(out)
    assert report.ok and report.n_shards_left == len(manifest.shards) - len(tier)
    assert sorted(p.name for p in out.iterdir() if p.name[0] == ".") == [".nws-pulled"]

    hub.log.clear()
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(out))[0] == 0
    assert hub.log == []  # all is here: nothing is asked

    status, text = client.nws("pull", REPOSITORY, "--tier", "full", "--out", str(out))
    assert status == 0 and sorted(hub.fetched()) == sorted({*shard_paths(manifest, "full")} - {*tier})
    assert verify(out).ok and verify(out).n_shards_left == 0
    for path in shard_paths(manifest, "full"):
        assert (out / path).read_bytes() == (tiny_dataset.root / path).read_bytes()


@pytest.mark.slow
def test_one_population(hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    out = tmp_path / "nws"
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--population", "random", "--out", str(out))[0] == 0
    tier = {path for path in shard_paths(tiny_dataset.manifest, TIER) if "/random/" in path}
    assert {path for path in hub.fetched() if path.startswith("weights/")} == tier
    status, text = client.nws("info", str(out))
    assert status == 0 and "here: 0 trainings in 0 shards" in text
    hub.log.clear()
    one = ("pull", REPOSITORY, "--tier", "full", "--population", "fixed", "--split", "test", "--out", str(out))
    status, text = client.nws(*one)
    shards = tiny_dataset.manifest.populations["fixed"].splits["test"].shards
    assert status == 0 and "fixed, split test" in text and hub.fetched() == [shard.path for shard in shards]
    assert verify(out).ok
    status, text = client.nws(*(word.replace("test", "tests") for word in one[:-1]), str(out))
    assert status == 2 and "split of fixed: got 'tests'" in text
    code = "import nws_data as n; result = n.pull({!r}, {!r}, tier={!r}, populations=['random']).n_fetched"
    assert client.python(code.format(REPOSITORY, str(tmp_path / "other"), TIER)) == len(tier)
    assert client.python(code.format(REPOSITORY, str(out), TIER)) == 0
    assert "DownloadError: a repository is owner/name" in client.python(code.format("nws", str(out), TIER))
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--population", "big", "--out", str(out))
    assert status == 2 and "population: got 'big'; choose one of fixed, random" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_pull_goes_on(
    hub: Hub, client: Client, home: Path, tiny_dataset: TinyDataset, tmp_path: Path, how: signal.Signals
) -> None:
    out, tier = tmp_path / "nws", shard_paths(tiny_dataset.manifest, TIER)
    reached = hub.hold[tier[2]] = threading.Event()
    hub.released.clear()
    command = [sys.executable, "-m", "nws_data", "pull", REPOSITORY, "--tier", TIER, "--out", str(out)]
    process = subprocess.Popen(command, env=environment(hub.url, home / "hf"), text=True, stderr=subprocess.PIPE)
    assert reached.wait(60)
    process.send_signal(how)
    error = process.communicate()[1]
    hub.released.set()
    if how == signal.SIGINT:
        assert process.returncode == 130 and "run the same command again to go on" in error
    assert not (out / tier[2]).exists() and [(out / path).exists() for path in tier[:2]] == [True, True]
    stopped = verify(out)
    assert stopped.ok and stopped.n_shards_left == len(tiny_dataset.manifest.shards) - 2  # what is there is sound

    hub.log.clear()
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(out))[0] == 0
    assert sorted(hub.fetched()) == sorted(tier[2:])
    assert verify(out).ok and not (out / ".pull").exists()


@pytest.mark.slow
def test_a_broken_connection_is_taken_up_where_it_broke(
    hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    path = shard_paths(tiny_dataset.manifest, TIER)[0]
    hub.cut[path] = 12_000_000
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--population", "fixed", "--out", str(tmp_path / "nws"))[0] == 0
    total = (tiny_dataset.root / path).stat().st_size
    first, second = (n for method, p, n in hub.log if p == path and method == "GET")
    assert first == 12_000_000 and total - first <= second < total
    assert (tmp_path / "nws" / path).read_bytes() == (tiny_dataset.root / path).read_bytes()


@pytest.mark.slow
def test_damaged_files_do_not_count(hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    out, tier = tmp_path / "nws", shard_paths(tiny_dataset.manifest, TIER)
    pull = ("pull", REPOSITORY, "--tier", TIER, "--out", str(out))
    hub.altered = {tier[1]}
    status, text = client.nws(*pull)
    assert status == 2 and f"{tier[1]} of owner/nws came damaged" in text and not (out / tier[1]).exists()
    hub.altered = set()
    (out / tier[0]).write_bytes(b"short")  # and what has gone bad here comes again
    table = next(iter(tiny_dataset.manifest.trainings.values()))
    (out / table).write_bytes(b"PAR1")
    hub.log.clear()
    assert client.nws(*pull)[0] == 0 and verify(out).ok
    assert {*hub.fetched()} == {table, *tier}


@pytest.mark.slow
def test_the_folder_keeps_its_commit(
    hub: Hub, client: Client, tiny_dataset: TinyDataset, newer: Path, tmp_path: Path
) -> None:
    out, first = tmp_path / "nws", hub.main
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--population", "random", "--out", str(out))[0] == 0
    second = hub.publish(newer)
    status, text = client.nws("pull", f"{REPOSITORY}@main", "--tier", "full", "--out", str(out))
    assert status == 2 and f"holds commit {first[:12]} of owner/nws, and main is {second[:12]} now" in text
    hub.log.clear()
    assert client.nws("pull", REPOSITORY, "--tier", "full", "--out", str(out))[0] == 0
    assert hub.fetched() and verify(out).ok
    assert Manifest.load(out) == tiny_dataset.manifest
    del hub.commits[first]
    (out / shard_paths(tiny_dataset.manifest, TIER)[0]).unlink()
    status, text = client.nws("pull", REPOSITORY, "--tier", "full", "--out", str(out))
    assert status == 2 and "owner/nws has no revision" in text


def test_what_is_refused(hub: Hub, client: Client, tmp_path: Path) -> None:
    for arguments, message in [
        (("pull", "owner/other", "--tier", TIER), "has no dataset 'owner/other' that you may read; check the name"),
        (("pull", f"{REPOSITORY}@v9", "--tier", TIER), "owner/nws has no revision 'v9'"),
        (("pull", REPOSITORY, "--tier", "huge"), "tier: got 'huge'; give 1GB, 10GB, full, or another size"),
        (("pull", REPOSITORY, "--tier", "1MB"), "few for one shard of each split of fixed: the smallest tier is"),
        (("pull", "nws", "--tier", TIER), "a repository is owner/name or owner/name@revision, got 'nws'"),
    ]:
        status, text = client.nws(*arguments, "--out", str(tmp_path / "new"))
        assert (status, message in text) == (2, True), text
        assert not any(path.name[0] != "." for path in tmp_path.rglob("*") if path.name != "new")
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("")
    (tmp_path / "own" / ".bashrc").write_text("mine")
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path / "own"))
    assert status == 2 and "holds what was not pulled from the hub (.bashrc, thesis.tex); give a new folder" in text


@pytest.mark.parametrize("name", [".bashrc", "../.bashrc", ".git/config", "metadata/trainings/.x.parquet"])
def test_only_names_of_the_format_are_written(hub: Hub, client: Client, tmp_path: Path, name: str) -> None:
    """A repository whose manifest, checksums and digest fit, and that names a file to be run on the next login."""
    evil = copy(hub.commits[hub.main], tmp_path / "served" / "evil")
    content = (evil / "README.md").read_bytes()
    (evil / name).parent.mkdir(parents=True, exist_ok=True)
    (evil / name).write_bytes(content)
    seal(evil, {name: sha256_of(content)}, lambda values: values["sha256"].update({name: sha256_of(content)}))
    hub.publish(evil)
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path / "home"))
    assert status == 2 and "sha256 must name exactly the Parquet files" in text
    assert {p.name for p in (tmp_path / "home").rglob("*")} <= {".nws-pulled"}
    assert not (tmp_path / ".bashrc").exists()


def test_nothing_is_written_behind_a_link(hub: Hub, client: Client, tmp_path: Path) -> None:
    out = tmp_path / "nws"
    assert client.nws("pull", REPOSITORY, "--tier", TIER, "--population", "random", "--out", str(out))[0] == 0
    (out / "weights").rename(tmp_path / "models")
    (out / "weights").symlink_to(tmp_path / "models")
    assert verify(out).ok  # reading through links is fine
    before = sorted((tmp_path / "models").rglob("*"))
    status, text = client.nws("pull", REPOSITORY, "--tier", "full", "--out", str(out))
    assert status == 2 and "weights is a link: a dataset can be read through links" in text
    assert sorted((tmp_path / "models").rglob("*")) == before


def test_a_pipe_in_the_place_of_the_staging_folder(hub: Hub, client: Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".pull")
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path))
    assert status == 0 and verify(tmp_path).ok, text


def test_an_answer_without_end_is_cut_off(hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    path = shard_paths(tiny_dataset.manifest, TIER)[0]
    nbytes = (tiny_dataset.root / path).stat().st_size
    hub.endless = {path}
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path / "nws"))
    hub.endless = set()
    assert status == 2 and f"the server sends more than the {nbytes:,} bytes that it may have; given up" in text
    sent = [n for method, p, n in hub.log if p == path and method == "GET"]
    assert sum(sent) < 10 * nbytes and not (tmp_path / "nws" / path).exists()
    assert not (tmp_path / "nws" / ".pull").exists()


def test_a_server_that_asks_to_wait_for_a_day(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.status, hub.retry_after_s = 429, 100_000
    status, text = client.nws("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path / "nws"))
    hub.status, hub.retry_after_s = 200, 0
    assert status == 2 and "asks to wait for 100000 s; run the same again later" in text


@pytest.mark.slow
def test_a_server_that_is_busy(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.status, hub.retry_after_s, hub.n_refusals = 429, 1, 10**9
    command = ("pull", REPOSITORY, "--tier", TIER, "--out", str(tmp_path / "nws"))
    status, text = client.nws(*command)
    assert status == 2 and "answered 429, too many requests; run the same again later" in text, text
    assert "cannot be reached" not in text
    hub.n_refusals = 1
    assert client.nws(*command)[0] == 0 and verify(tmp_path / "nws").ok
    hub.status, hub.retry_after_s, hub.n_refusals = 200, 0, 10**9


@pytest.mark.slow
def test_main_moves_on_in_mid_pull(
    hub: Hub, client: Client, home: Path, tiny_dataset: TinyDataset, newer: Path, tmp_path: Path
) -> None:
    out, tier = tmp_path / "nws", shard_paths(tiny_dataset.manifest, TIER)
    reached = hub.hold[tier[1]] = threading.Event()
    hub.released.clear()
    command = [sys.executable, "-m", "nws_data", "pull", REPOSITORY, "--tier", TIER, "--out", str(out)]
    process = subprocess.Popen(command, env=environment(hub.url, home / "hf"))
    assert reached.wait(60)
    first = hub.main
    hub.publish(newer)
    hub.released.set()
    assert process.wait(60) == 0 and Manifest.load(out) == tiny_dataset.manifest
    assert verify(out).ok and f'"{first}"' in (out / ".nws-pulled").read_text()


@pytest.mark.slow
def test_open_fetches_what_the_selection_needs(hub: Hub, client: Client, home: Path, tiny_dataset: TinyDataset) -> None:
    random = [path for path in shard_paths(tiny_dataset.manifest, TIER) if "/random/" in path]
    code = "import nws_data; d = nws_data.open({}); result = [len(d), d.vector(-1).sum().item(), str(d.root)]"
    n, total, root = client.python(code.format(f"'{REPOSITORY}', 'random', 'test', tier='{TIER}'"))
    assert sorted(p for p in hub.fetched() if p.startswith("weights/")) == [p for p in random if "/test-" in p]
    entry = restricted(tiny_dataset.manifest, TIER).populations["random"].splits["test"]
    last = tiny_dataset.record(entry.shards[-1].last)
    assert n == 20 * entry.n_trainings and total == pytest.approx(float(last.weights[-1].sum()), rel=1e-4)

    hub.log.clear()
    n, _, again = client.python(code.format(f"'hf://datasets/{REPOSITORY}', 'random', tier='{TIER}'"))
    assert sorted(hub.fetched()) == [p for p in sorted(random) if "/test-" not in p] and again == root
    report = verify(root)
    assert report.ok and report.n_shards_left == len(tiny_dataset.manifest.shards) - len(random)
    assert "say how much to fetch, as in tier=" in client.python(code.format(f"'{REPOSITORY}'"))
    assert "nor is there a folder owner/none" in client.python(code.format(f"'owner/none', tier='{TIER}'"))
    task = f"import nws_data; result = nws_data.load_task('regress-local/test_accuracy/tier={TIER}', '{REPOSITORY}').name"
    assert client.python(task) == f"regress-local/test_accuracy/tier={TIER}"

    offline = Client(hub.url, home / "hf", home, HF_HUB_OFFLINE="1")
    hub.log.clear()
    assert offline.python(code.format(f"'{REPOSITORY}', 'random', tier='{TIER}'"))[0] == n
    refused = offline.python(code.format(f"'{REPOSITORY}', 'fixed', tier='full'"))
    assert "DownloadError" in refused and "is not in the cache, and" in refused
    assert hub.log == []
    offline.close()


def test_a_tier_without_this_package(hub: Hub, client: Client, tiny_dataset: TinyDataset) -> None:
    """The rule of FORMAT.md in plain Python, as the dataset card says it, with the libraries of the hub alone."""
    code = """
import json
from datasets import load_dataset
from huggingface_hub import hf_hub_download, snapshot_download

limit = 40e6
manifest = json.load(open(hf_hub_download("owner/nws", "manifest.json", repo_type="dataset")))
shards = [
    (number > 0, sum(int(training[-6:]) for training in shard["trainings"]), order, shard)
    for order, split in enumerate(manifest["populations"]["random"]["splits"].values())
    for number, shard in enumerate(split["shards"])
]
tier, size = [], 0
for *_, shard in sorted(shards, key=lambda item: item[:3]):
    size += shard["nbytes"]
    if size > limit:
        break
    tier.append(shard["path"])
root = snapshot_download("owner/nws", repo_type="dataset", allow_patterns=["README.md", "metadata/*", *tier])
whole = load_dataset(root, "random", split="train")
snapshots = whole.filter(lambda place: place["shard"] in tier, input_columns="weights")
result = [tier, snapshots["training"][:]]
"""
    answer = client.python(code)
    assert isinstance(answer, list), answer
    tier, found = answer
    assert sorted(tier) == sorted(path for path in shard_paths(tiny_dataset.manifest, TIER) if "/random/" in path)
    shards = restricted(tiny_dataset.manifest, TIER).populations["random"].splits["train"].shards
    expected = [f"random-{i:06d}" for i in range(24) if any(s.first <= f"random-{i:06d}" <= s.last for s in shards)]
    assert {*found} <= {*expected} and len(found) == 20 * sum(s.n_trainings for s in shards)


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("owner/nws", Repository("owner/nws")),
        ("owner/nws@v1.0", Repository("owner/nws", "v1.0")),
        ("hf://datasets/a-b/c.d_e", Repository("a-b/c.d_e")),
        ("nws", None),
        ("/data/nws", None),
        ("./nws", None),
        ("../a/b", None),
        ("a/b/c", None),
        ("~/nws", None),
    ],
)
def test_addresses(text: str, repository: Repository | None) -> None:
    assert parse_repository(text) == repository


def test_a_disk_that_is_full(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    huge = replace(tiny_dataset.manifest.shards[0], nbytes=10**18)
    with pytest.raises(DownloadError, match=r"1,000,000,000,000\.0 MB are to be fetched, .* MB free; free some or take"):
        _check_space(tmp_path, [huge])
    with (
        pytest.raises(DownloadError, match="no space left for x of owner/nws: free some"),
        translated_errors(Repository("owner/nws"), "x"),
    ):
        raise OSError(28, "No space left on device")
