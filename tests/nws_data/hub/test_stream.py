"""Windows from the hub by ranges of bytes, and the hub's own libraries on the same server: plain, streaming, off line."""

from pathlib import Path

import pytest

from nws_data.check.verify import verify
from nws_data.format.partial import restricted
from tests.conftest import TinyDataset
from tests.nws_data.hub.client import Client
from tests.nws_data.hub.hub_server import REPOSITORY, Hub

WINDOWS = """
import pickle
import nws_data
from torch.utils.data import DataLoader

data = nws_data.open({!r}, "random", "train", stream=True)
windows = nws_data.RandomWindows(pickle.loads(pickle.dumps(data)), length=5000, target="optimizer")
batch, labels = next(iter(DataLoader(windows, batch_size=64)))
rows = [i // windows.windows_per_vector if hasattr(windows, "windows_per_vector") else i for i in range(64)]
result = [str(data.root), len(data), batch.double().sum(1).tolist(), windows.starts()[:64].tolist(),
          data["training"][:64].tolist(), data["snapshot"][:64].tolist()]
"""


def n_sent(hub: Hub, prefix: str = "") -> int:
    return sum(n for method, path, n in hub.log if method == "GET" and path.startswith(prefix))


@pytest.mark.slow
def test_windows_come_without_their_shards(hub: Hub, client: Client, tiny_dataset: TinyDataset) -> None:
    client.python(WINDOWS.format(REPOSITORY))  # the metadata, once
    hub.log.clear()
    root, n, sums, starts, trainings, snapshots = client.python(WINDOWS.format(REPOSITORY))
    assert n == 20 * tiny_dataset.manifest.populations["random"].splits["train"].n_trainings
    assert 64 * 20_000 <= n_sent(hub) <= 1.2 * 64 * 20_000  # all that came, of weights and all else
    assert not list(Path(root).rglob("*.safetensors"))
    for total, start, training, snapshot in zip(sums, starts, trainings, snapshots, strict=True):
        weights = tiny_dataset.record(training).weights[snapshot, start : start + 5000]
        assert total == pytest.approx(float(weights.sum(dtype="f8")), nan_ok=True)


@pytest.mark.slow
def test_a_window_of_a_shard_that_is_here_asks_for_nothing(
    hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    out = tmp_path / "nws"
    assert client.nws("pull", REPOSITORY, "--tier", "40MB", "--out", str(out))[0] == 0
    hub.log.clear()
    code = "import nws_data as n; d = n.open({!r}, 'random', stream=True); t = d['training'].tolist(); {}"
    here = restricted(tiny_dataset.manifest, "40MB").populations["random"].splits["test"].shards[0].first
    there = tiny_dataset.manifest.populations["random"].splits["train"].shards[-1].last
    for training, n_bytes in ((here, 0), (there, 4 * tiny_dataset.record(there).weights.shape[1])):
        total = client.python(code.format(str(out), f"result = d.vector(t.index('{training}') + 3).double().sum().item()"))
        assert total == pytest.approx(float(tiny_dataset.record(training).weights[3].sum(dtype="f8")))
        assert n_sent(hub) == n_bytes
    view = f"n.GlobalVectors(d.select(training='{there}', last=1), length=20_000)"
    mean, computed = client.python(
        code.format(
            str(out), f"v = {view}; result = [v[0][0].double().mean().item(), n.statistics_features(v)[0, 0].item()]"
        )
    )
    assert computed == pytest.approx(mean)


@pytest.mark.slow
def test_a_selection_fetches_its_shards_and_no_others(
    hub: Hub, client: Client, tiny_dataset: TinyDataset, tmp_path: Path
) -> None:
    shard = tiny_dataset.manifest.populations["random"].splits["train"].shards[-1]
    out = tmp_path / "nws"
    assert client.nws("pull", REPOSITORY, "--tier", "40MB", "--population", "fixed", "--out", str(out))[0] == 0
    code = "import nws_data as n; d = n.open({!r}, 'random', 'train', stream=True).select(training={!r}).fetch(); {}"
    for place in (str(out), REPOSITORY):  # a folder of one's own, the cache
        hub.log.clear()
        root = client.python(code.format(place, shard.last, "result = str(d.root)"))
        assert [path for path in hub.fetched() if path.startswith("weights/")] == [shard.path]
        hub.log.clear()
        total = client.python(code.format(place, shard.last, "result = d.vector(5).double().sum().item()"))
        assert total == pytest.approx(float(tiny_dataset.record(shard.last).weights[5].sum(dtype="f8")))
        assert n_sent(hub, "weights/") == 0 and verify(root).ok
    assert not (out / ".pull").exists() and shard.path in (out / ".nws-pulled").read_text()


def test_the_commit_stays_when_main_moves_on(hub: Hub, client: Client, newer: Path, tiny_dataset: TinyDataset) -> None:
    last = tiny_dataset.manifest.populations["fixed"].splits["test"].shards[-1].last
    code = "import nws_data as n; {}; result = d.select(training='{}').vector(7).double().sum().item()"
    opened = f"d = n.open('{REPOSITORY}', 'fixed', 'test', stream=True)"
    expected = pytest.approx(float(tiny_dataset.record(last).weights[7].sum(dtype="f8")))
    client.python(f"import nws_data as n, builtins; {opened}; builtins.kept = d")
    first, second = hub.main, hub.publish(newer)
    assert second != first
    assert client.python(code.format("import builtins; d = builtins.kept", last)) == expected
    assert "population: got 'fixed'" in client.python(code.format(opened, last))  # of the new commit
    pinned = f"d = n.open('{REPOSITORY}@{first}', 'fixed', 'test', stream=True)"
    assert client.python(code.format(pinned, last)) == expected


def test_a_range_that_breaks_off_is_asked_for_again(hub: Hub, client: Client, tiny_dataset: TinyDataset) -> None:
    shard = tiny_dataset.manifest.populations["fixed"].splits["train"].shards[-1]
    code = f"import nws_data as n; d = n.open('{REPOSITORY}', 'fixed', 'train', stream=True)"
    client.python(code)
    hub.log.clear()
    hub.cut[shard.path] = 100_000
    total = client.python(f"{code}; result = d.select(training='{shard.last}').vector(4).double().sum().item()")
    assert total == pytest.approx(float(tiny_dataset.record(shard.last).weights[4].sum(dtype="f8")))
    assert [n for _, path, n in hub.log if path == shard.path] == [100_000, 4 * 92_868]


def test_a_server_without_ranges_is_refused(hub: Hub, client: Client) -> None:
    hub.has_ranges = False
    code = f"import nws_data as n; d = n.open('{REPOSITORY}', 'fixed', 'train', stream=True); d.vector(0)"
    text = client.python(code)
    hub.has_ranges = True
    assert "with status 200; this server gives no ranges" in text and "use a tier instead of stream=True" in text


def test_without_a_network_what_is_here_is_read_and_the_rest_refused(
    hub: Hub, client: Client, home: Path, tiny_dataset: TinyDataset
) -> None:
    code = "import nws_data as n; d = n.open('owner/nws', 'random', {!r}, {}); result = d.vector(0).sum().item()"
    sums = [client.python(code.format(split, "stream=True")) for split in ("train", "validation")]
    assert client.python(code.format("validation", "tier='full'")) == pytest.approx(sums[1])
    offline = Client(hub.url, home / "hf", home, HF_HUB_OFFLINE="1")
    hub.log.clear()
    assert offline.python(code.format("validation", "stream=True")) == pytest.approx(sums[1])
    refused = offline.python(code.format("train", "stream=True"))
    assert "DownloadError: weights/random/train-" in refused and "is not in the cache, and" in refused
    assert hub.log == []
    offline.close()


LOAD = """
import nws_data
from datasets import load_dataset

rows = load_dataset("owner/nws", "random", split="train", streaming={})
rows = rows.cast_column("weights", nws_data.Weights(root="hf://datasets/owner/nws"))
row = next(iter(rows.with_format("numpy")))
trainings = load_dataset("owner/nws", "trainings", split="test")
result = [row["training"], float(row["weights"].sum()), row["optimizer"], len(trainings), len(trainings[0]["layers"])]
"""


@pytest.mark.slow
def test_load_dataset_plain_streaming_and_off_line(hub: Hub, client: Client, home: Path, tiny_dataset: TinyDataset) -> None:
    plain = client.python(LOAD.format(False))
    assert isinstance(plain, list), plain
    record = tiny_dataset.record(plain[0])
    assert plain[1] == pytest.approx(float(record.weights[0].sum()), rel=1e-4)
    assert plain[2] == record.hyperparameters.optimizer
    hub.log.clear()
    assert client.python(LOAD.format(True)) == plain
    assert not [path for path in hub.fetched() if path.endswith("safetensors") and n_sent(hub, path) > 500_000]
    default = client.python("from datasets import load_dataset as l; result = l('owner/nws', split='test').num_rows")
    assert default == 20 * tiny_dataset.manifest.populations["fixed"].splits["test"].n_trainings

    code = "from datasets import load_dataset as l; d = l('owner/nws', 'random', split='train'); result = d[0]['training']"
    offline = Client(hub.url, home / "hf", home, HF_HUB_OFFLINE="1")
    hub.log.clear()
    assert offline.python(code) == plain[0] and hub.log == []
    offline.close()
