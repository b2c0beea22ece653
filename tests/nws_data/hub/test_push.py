"""Datasets sent to a real HTTP server that speaks the hub's protocol, by the real client library."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nws_data.check.verify import verify
from nws_data.format.manifest import Manifest
from nws_data.format.root import listed_files
from tests.conftest import ROOT, TinyDataset, stage, write
from tests.nws_data.hub.client import Client, environment
from tests.nws_data.hub.hub_server import REPOSITORY, Hub


@pytest.fixture
def empty(served: Hub, tmp_path: Path) -> Hub:
    """The hub without a repository."""
    served.commits, served.main, served.tags, served.summaries = {}, "", {}, []
    served.store = tmp_path / "store"
    served.store.mkdir()
    served.log.clear()
    return served


@pytest.fixture
def cluttered(tiny_dataset: TinyDataset, tmp_path: Path) -> Path:
    """A benchmark's dataset with hidden files and folders of its owner in it."""
    root = Path(shutil.copytree(tiny_dataset.root, tmp_path / "nws", copy_function=shutil.os.link))
    for name in (".build/cache.bin", ".cache/token", "weights/.features/x.npy", ".env"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("mine")
    shutil.copy(ROOT / "eval.yaml", root)
    return root


def sent(hub: Hub) -> list[str]:
    """Return the requests that changed something."""
    return [f"{method} {path}" for method, path, _ in hub.log if method in ("PUT", "DELETE") or "/commit/" in path]


def everything(manifest: Manifest) -> set[str]:
    return listed_files(manifest) | {"croissant.json", "trainings.svg"}


def remote_files(hub: Hub) -> set[str]:
    root = hub.commits[hub.main]
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_dataset_goes_up_and_comes_down(empty: Hub, client: Client, cluttered: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(cluttered)
    status, text = client.nws("push", REPOSITORY, "--data", str(cluttered))
    assert (status, sent(empty), empty.commits) == (0, [], {}), text  # a dry run
    assert f"to send: {len(manifest.shards)} shards, {sum(s.nbytes for s in manifest.shards) / 1e6:,.1f} MB" in text
    assert "a new repository" in text and "Nothing was sent. Next: the same with --yes" in text
    assert all(path in text for path in everything(manifest) - {s.path for s in manifest.shards[1:-1]})

    status, text = client.nws("push", REPOSITORY, "--data", str(cluttered), "--yes")
    assert status == 0 and "Tagged format-1" in text, text
    assert remote_files(empty) == everything(manifest) | {"eval.yaml"}  # no hidden file, no cache
    assert {(cluttered / p).read_bytes() == (empty.commits[empty.main] / p).read_bytes() for p in remote_files(empty)} == {
        True
    }
    assert empty.tags == {"format-1": empty.main}
    assert [path for _, path in empty.summaries[0][1]] == [shard.path for shard in manifest.shards]
    assert empty.summaries[-1][1][-1] == ("file", "manifest.json")  # visible when all else is there

    empty.log.clear()
    status, text = client.nws("push", REPOSITORY, "--data", str(cluttered), "--yes")
    assert (status, sent(empty)) == (0, []), text
    assert "Nothing is left to send." in client.nws("push", REPOSITORY, "--data", str(cluttered))[1]

    out = tmp_path / "pulled"
    assert client.nws("pull", f"{REPOSITORY}@format-1", "--tier", "full", "--out", str(out))[0] == 0
    assert verify(out).ok and Manifest.load(out) == manifest


@pytest.mark.slow
def test_an_extended_dataset_adds_its_files_and_drops_replaced_tables(empty: Hub, client: Client, tmp_path: Path) -> None:
    root, new = tmp_path / "nws", range(6, 9)
    before = write(root, "random", stage(tmp_path, "random", range(6)), shard_sizes=(1,))
    code = "import nws_data.hub.push as p; p.COMMIT_FILES = 4; result = p.push('owner/nws', {!r}).commit"
    first = client.python(code.format(str(root)))
    assert first == empty.main
    assert [len(paths) for _, paths in empty.summaries[:-1]] == [4, len(before.shards) - 4]
    copy = Path(shutil.copytree(root, tmp_path / "copy"))

    empty.summaries.clear()
    after = write(root, "random", stage(tmp_path, "random", new), shard_sizes=(1,))
    assert client.python(code.format(str(root))) == empty.main
    assert [path for _, path in empty.summaries[0][1]] == [s.path for s in after.shards if s not in before.shards]
    assert remote_files(empty) == everything(after) and empty.tags == {"format-1": empty.main}
    assert remote_files(empty) | {*before.sha256} != remote_files(empty)

    for folder in (copy, write_other(tmp_path)):  # an older and another dataset do not take its place
        status, text = client.nws("push", REPOSITORY, "--data", str(folder), "--yes")
        assert status == 2 and "published shards stay as they are" in text
    assert remote_files(empty) == everything(after)


def write_other(folder: Path) -> Path:
    write(folder / "other", "random", stage(folder, "random", (1, 2, 3)), shard_sizes=(1,))
    return folder / "other"


@pytest.mark.slow
def test_a_killed_push_goes_on(empty: Hub, client: Client, home: Path, tiny_dataset: TinyDataset) -> None:
    shards = tiny_dataset.manifest.shards
    reached = empty.hold[f"/lfs/{shards[3].sha256}"] = threading.Event()
    empty.released.clear()
    command = [sys.executable, "-m", "nws_data", "push", REPOSITORY, "--yes", "--data", str(tiny_dataset.root)]
    process = subprocess.Popen(command, env=environment(empty.url, home / "hf"), stderr=subprocess.PIPE)
    assert reached.wait(60)
    process.send_signal(signal.SIGINT)
    assert "run the same command again to go on" in process.communicate()[1].decode()
    empty.released.set()
    assert process.returncode == 130 and not remote_files(empty)
    empty.log.clear()
    assert client.nws("push", REPOSITORY, "--data", str(tiny_dataset.root), "--yes")[0] == 0
    stored = {line.removeprefix("PUT /lfs/") for line in sent(empty)}
    assert stored.isdisjoint(shard.sha256 for shard in shards[:3]) and stored >= {s.sha256 for s in shards[4:]}
    assert remote_files(empty) == everything(tiny_dataset.manifest)


def test_what_is_refused(empty: Hub, client: Client, cluttered: Path, tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    data = ("--data", str(tiny_dataset.root))
    for name in ("nws", f"{REPOSITORY}@main", "a/b/c"):
        status, text = client.nws("push", name, *data, "--yes")
        assert status == 2 and f"a repository to send to is owner/name, got '{name}'" in text
    status, text = client.nws("push", "other/nws", *data, "--yes")  # this server makes no such repository
    assert status == 2 and "other/nws" in text, text
    (cluttered / "notes.txt").write_text("mine")
    status, text = client.nws("push", REPOSITORY, "--data", str(cluttered), "--yes")
    assert status == 2 and "is not sound: notes.txt: does not belong to the dataset" in text
    (cluttered / "notes.txt").unlink()
    shard = cluttered / tiny_dataset.manifest.shards[0].path
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.unlink()
    shard.write_bytes(raw)
    status, text = client.nws("push", REPOSITORY, "--data", str(cluttered), "--yes")
    assert status == 2 and "altered" in text and sent(empty) == []


@pytest.mark.slow
def test_a_connection_that_breaks_in_an_upload(empty: Hub, client: Client, tmp_path: Path) -> None:
    root = write_other(tmp_path)
    shard = Manifest.load(root).shards[1]
    empty.cut[f"/lfs/{shard.sha256}"] = 500_000
    status, text = client.nws("push", REPOSITORY, "--data", str(root), "--yes")
    assert status == 0 and remote_files(empty) == everything(Manifest.load(root)), text
    assert [n for _, path, n in empty.log if path.endswith(shard.sha256)] == [500_000, shard.nbytes]


def test_nobody_is_asked_for_a_token(empty: Hub, client: Client, tmp_path: Path) -> None:
    root = write_other(tmp_path)
    empty.status = 401
    status, text = client.nws("push", REPOSITORY, "--data", str(root), "--yes")
    empty.status = 200
    assert status == 2 and "you may not write to owner/nws" in text and "log in with `hf auth login`" in text, text


def test_a_part_is_not_sent(hub: Hub, client: Client, tmp_path: Path) -> None:
    out = tmp_path / "part"
    assert client.nws("pull", REPOSITORY, "--tier", "40MB", "--out", str(out))[0] == 0
    status, text = client.nws("push", "me/copy", "--data", str(out), "--yes")
    assert status == 2 and f"holds a part only; `nws pull {REPOSITORY} --tier full --out" in text


@pytest.mark.slow
def test_another_push_meanwhile(empty: Hub, client: Client, tiny_dataset: TinyDataset) -> None:
    empty.moves = True
    status, text = client.nws("push", REPOSITORY, "--data", str(tiny_dataset.root), "--yes")
    empty.moves = False
    assert status == 2 and "was changed by somebody else meanwhile" in text, text
    assert "manifest.json" not in remote_files(empty)
