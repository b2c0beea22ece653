import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import nws_data
from nws_data.check.verify import verify
from nws_data.format.manifest import MANIFEST, Manifest
from nws_data.format.metadata import (
    PROVENANCE_SCHEMA,
    SNAPSHOT_SCHEMA,
    TRAINING_SCHEMA,
)
from nws_data.format.root import CHECKSUMS, UNFINISHED
from nws_data.format.shards import write_shard
from nws_data.hashing import sha256_of
from tests.conftest import TinyDataset, stage, write
from tests.nws_data.format.forging import forge, problems, seal, set_value

SHARD = "weights/random/train-00000.safetensors"


def test_a_sound_dataset_has_no_problems(tiny_dataset: TinyDataset) -> None:
    calls: list[tuple[str, int, int]] = []
    report = verify(tiny_dataset.root, progress=lambda *call: calls.append(call))
    assert report.problems == ()
    assert report.ok
    assert (report.n_trainings, report.n_files, report.deep) == (32, 23, True)
    assert len(calls) == 32
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert 0.999 < calls[-1][1] / calls[-1][2] <= 1
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    assert verify(tiny_dataset.root, deep=False).ok


def test_a_folder_that_is_no_dataset_is_one_problem(tmp_path: Path) -> None:
    report = verify(tmp_path)
    assert not report.ok
    assert len(report.problems) == 1
    assert "no manifest.json" in report.problems[0]


def test_truncated_shard(root: Path) -> None:
    content = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(content[:-4])
    assert f"{SHARD}: truncated" in problems(root, deep=False)


def test_one_flipped_bit_is_found_by_the_deep_check(root: Path) -> None:
    content = bytearray((root / SHARD).read_bytes())
    content[len(content) // 2] ^= 1
    (root / SHARD).write_bytes(content)
    assert problems(root, deep=False) == ""
    assert f"{SHARD}: altered" in problems(root)


def test_foreign_and_exchanged_shards(root: Path) -> None:
    other = root / "weights/random/test-00000.safetensors"
    own = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(save({"w": np.zeros(3, np.float32)}))
    assert f"{SHARD}: a safetensors file, but not an NWS shard" in problems(root, deep=False)
    (root / SHARD).write_bytes(other.read_bytes())
    found = problems(root, deep=False)
    assert f"{SHARD}: holds random/test, expected random/train" in found
    assert f"{SHARD}: its trainings are not those that {MANIFEST} names" in found
    (root / SHARD).write_bytes(own)
    assert problems(root) == ""


@pytest.mark.parametrize(
    "name", ["README.md", "SHA256SUMS", SHARD, "metadata/provenance", "metadata/trainings", "metadata/random"]
)
def test_missing_file(root: Path, name: str) -> None:
    path = next(iter(sorted((root / name).iterdir()))) if (root / name).is_dir() else root / name
    path.unlink()
    assert f"{path.relative_to(root)}: missing" in problems(root, deep=False)


def test_descriptions_that_the_checksums_name(root: Path) -> None:
    """Datasets of before have neither file; those of now have what SHA256SUMS names."""
    text = (root / CHECKSUMS).read_text()
    for name in ("croissant.json", "trainings.svg"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content + b" ")
        assert f"{name}: altered" in problems(root)
        (root / name).unlink()
        assert f"{name}: missing, and SHA256SUMS names it" in problems(root)
        (root / CHECKSUMS).write_text("".join(line for line in text.splitlines(True) if name not in line))
        assert problems(root) == "" and len(nws_data.open(root)) == 120
        (root / name).write_bytes(content + b" ")  # it is nobody's then
        assert problems(root) == ""
        (root / name).write_bytes(content)
        (root / CHECKSUMS).write_text(text)
        assert problems(root) == ""


def test_extra_files_but_not_hidden_ones_or_eval(root: Path) -> None:
    for name in (".build/staged", ".gitattributes", "eval.yaml", "weights/.x.tmp-1"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("")
    assert problems(root) == ""
    (root / "nws.py").write_text("")
    (root / "weights/random/train-00007.safetensors").write_text("")
    assert "nws.py: does not belong" in problems(root)
    assert "train-00007.safetensors: does not belong" in problems(root)


def test_unfinished_write(root: Path) -> None:
    (root / UNFINISHED).write_text("")
    (root / "weights/random/train-00007.safetensors").write_text("")  # of the dataset to come, as these are
    (root / "README.md").write_text("")
    (root / CHECKSUMS).write_text("")
    assert problems(root) == f"{UNFINISHED}: a writer works here or was killed; run the same build again to finish it"
    (root / SHARD).unlink()
    assert f"{SHARD}: missing" in problems(root)


def test_edited_readme(root: Path) -> None:
    with open(root / "README.md", "a") as stream:
        stream.write(".")
    assert problems(root) == (
        "README.md: altered: its SHA-256 is not the recorded one; fetch it again or rebuild the dataset"
    )


def test_damaged_checksums(root: Path) -> None:
    text = (root / CHECKSUMS).read_text()
    (root / CHECKSUMS).write_text("nonsense")
    assert "a line is not '<sha256>  <path>'" in problems(root)
    (root / CHECKSUMS).write_text("")
    assert "SHA256SUMS: README.md is not listed" in problems(root)
    lines = text.splitlines(keepends=True)
    (root / CHECKSUMS).write_text("".join(lines[1:]))
    assert "SHA256SUMS: README.md is not listed" in problems(root)
    (root / CHECKSUMS).write_text(text.replace(lines[-1][:64], "0" * 64))
    assert f"SHA256SUMS: the entry of {lines[-1][66:-1]} is not that of manifest.json" in problems(root)


def test_unreadable_and_edited_parquet(root: Path) -> None:
    path = root / Manifest.load(root).trainings["train"]
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    assert f"{path}: altered" in problems(root, deep=False)
    assert len(verify(root).problems) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("epoch", 999),
        ("test_accuracy", 0.123),
        ("n_weights_conv", 1),
        ("finite", False),
        ("weights", {"shard": SHARD, "key": "t000000", "row": 3, "offset": 4, "nbytes": 8}),
    ],
)
def test_forged_snapshot_row(root: Path, column: str, value: Any) -> None:
    path = Manifest.load(root).populations["random"].splits["train"].metadata
    path = forge(root, path, SNAPSHOT_SCHEMA, set_value(3, column, value))
    assert problems(root) == f"{path}: row of random-000000, snapshot 3: wrong {column}"


def swap(rows: list[dict[str, Any]]) -> None:
    rows[3], rows[25] = rows[25], rows[3]


ORDER = "rows must ascend by plan index and snapshot, each once"


@pytest.mark.parametrize(
    ("edit", "messages"),
    [
        (lambda rows: rows.pop(3), ["not a table of FORMAT.md (39 rows, expected 40)"]),
        (lambda rows: rows.insert(3, rows[3]), ["not a table of FORMAT.md (41 rows, expected 40)"]),
        (lambda rows: rows.__setitem__(3, rows[2]), ["no row of random-000000, snapshot 3", ORDER]),
        (swap, [ORDER]),
        (
            set_value(3, "training", "random-000099"),
            [
                "no row of random-000000, snapshot 3",
                "has rows of random-000099, which is no training of random/train",
                ORDER,
            ],
        ),
        (set_value(3, "training", "moon"), ["not a table of FORMAT.md (training cannot be 'moon')"]),
        (set_value(3, "optimizer", "adam2"), ["not a table of FORMAT.md (optimizer cannot be 'adam2')"]),
        (set_value(3, "optimizer", None), ["not a table of FORMAT.md (optimizer has 1 missing values)"]),
        (set_value(3, "batch_size", 33), ["not a table of FORMAT.md (batch_size cannot be 33)"]),
        (set_value(3, "test_accuracy", float("nan")), ["not a table of FORMAT.md (test_accuracy must be in [0, 1]"]),
        (set_value(19, "snapshot", 20), ["not a table of FORMAT.md (snapshot must be in [0, 19], got 0 to 20)"]),
    ],
)
def test_rows_too_few_too_many_or_out_of_order(root: Path, edit: Any, messages: list[str]) -> None:
    """Rows are matched by training and snapshot: one that is missing accuses no other."""
    path = forge(root, Manifest.load(root).populations["random"].splits["train"].metadata, SNAPSHOT_SCHEMA, edit)
    found = verify(root).problems
    assert len(found) == len(messages)
    for message in messages:
        assert any(f"{path}: {message}" in problem for problem in found), (message, found)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-4])])
def test_a_damaged_shard_is_the_only_problem(root: Path, damage: Callable[[Path], object]) -> None:
    damage(root / SHARD)
    report = verify(root)
    assert len(report.problems) == report.n_damaged == 1
    assert SHARD in report.problems[0]


@pytest.mark.parametrize("name", ["README.md", "SHA256SUMS", "metadata/provenance", "metadata/trainings", "metadata/random"])
def test_a_missing_small_file_is_the_only_problem(root: Path, name: str) -> None:
    path = min((root / name).iterdir()) if (root / name).is_dir() else root / name
    path.unlink()
    assert verify(root).problems == (f"{path.relative_to(root)}: missing; fetch it again or rebuild the dataset",)


def test_problems_that_no_other_copy_cures(root: Path) -> None:
    (root / "nws.py").write_text("")
    (root / SHARD).unlink()
    report = verify(root)
    assert (len(report.problems), report.n_damaged) == (2, 1)


def test_a_folder_given_as_text(root: Path) -> None:
    assert verify(str(root)) == verify(root)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("seed", 7, "seed 7 does not follow from build seed 5"),
        ("split", "test", "wrong split"),
        ("plan_index", 7, "wrong plan_index"),
        ("population", "fixed", "wrong population"),
        ("n_weights", 7, "wrong n_weights"),
        ("layers", [], "wrong layers"),
        ("n_epochs", 7, "wrong n_epochs"),
        ("final_test_accuracy", 1.0, "wrong final_test_accuracy"),
        ("snapshot_epochs", [0] * 20, "20 ascending epochs"),
        ("train_accuracy", [0.1], "train_accuracy has 1 values"),
        ("stop_reason", "bored", "stop_reason cannot be 'bored'"),
        ("finite", False, "its values are finite, metadata says otherwise"),
        ("dataset", "svhn", "image set 'svhn' is not in manifest.json"),
        ("width_conv", 48, "values, its architecture"),
        ("width_conv", 47, "width_conv cannot be 47"),
    ],
)
def test_forged_training_row(root: Path, column: str, value: Any, message: str) -> None:
    path = Manifest.load(root).trainings["train"]
    forge(root, path, TRAINING_SCHEMA, set_value(0, column, value))
    assert message in problems(root)


def test_rows_that_are_missing(root: Path) -> None:
    manifest = Manifest.load(root)
    path = forge(root, manifest.provenance, PROVENANCE_SCHEMA, lambda rows: rows.__setitem__(0, rows[1]))
    assert f"random-000000 has no single row in {path}" in problems(root)
    forge(root, manifest.trainings["test"], TRAINING_SCHEMA, lambda rows: rows.__setitem__(1, rows[0]))
    assert "random-000002: in weights/random/test-00001.safetensors, but not in metadata/trainings" in problems(root)


def test_hidden_non_finite_values(root: Path) -> None:
    """A shard rewritten with a NaN and fitting checksums: only the data gives it away."""
    from safetensors import safe_open

    tensors = load_file(root / SHARD)
    tensors["t000000"][4, 4] = np.nan
    with safe_open(root / SHARD, framework="np") as file:
        content = save(tensors, file.metadata())
    (root / SHARD).write_bytes(content)
    seal(root, {SHARD: sha256_of(content)})
    assert problems(root) == "random-000000: its values are not finite, metadata says otherwise"


def shard_entries(content: dict[str, Any], split: str) -> list[dict[str, Any]]:
    return list(content["populations"]["random"]["splits"][split]["shards"])


def test_training_in_a_shard_of_another_split(root: Path) -> None:
    test = load_file(root / "weights/random/test-00000.safetensors")
    lengths = {key: tensor.shape[1] for key, tensor in test.items()}
    written = write_shard(root / SHARD, "random", "train", lengths, test.values())

    def edit(content: dict[str, Any]) -> None:
        entry = shard_entries(content, "train")[0]
        entry |= {"nbytes": written.nbytes, "trainings": ["random-000001", "random-000001"]}

    seal(root, {SHARD: written.sha256})
    assert f"{SHARD}: holds random-000001, whose split is test" in problems(root)
    seal(root, {SHARD: written.sha256}, edit)
    assert "a shard of random/train cannot hold random-000001" in problems(root)


def test_shards_out_of_order_or_of_another_size(root: Path) -> None:
    def swap(content: dict[str, Any]) -> None:
        content["populations"]["random"]["splits"]["train"]["shards"].reverse()

    seal(root, {}, swap)
    assert "shards of random/train must follow each other in plan order" in problems(root, deep=False)
    seal(root, {}, swap)
    nbytes = (root / SHARD).stat().st_size
    seal(root, {}, lambda content: shard_entries(content, "train")[0].update(nbytes=5))
    assert "a shard of 1 trainings cannot have 5 bytes" in problems(root, deep=False)
    seal(root, {}, lambda content: shard_entries(content, "train")[0].update(nbytes=nbytes + 8))
    assert f"{SHARD}: {nbytes} bytes, manifest.json says {nbytes + 8}" in problems(root, deep=False)


def test_forged_manifest(root: Path) -> None:
    seal(root, {}, lambda content: content["populations"]["random"]["plan"].update(build_seed=6))
    assert "seed" in problems(root, deep=False)
    good = json.loads((root / MANIFEST).read_text())
    seal(root, {}, lambda content: content.update(image_sets=content["image_sets"][:1]))
    assert "plan of random: image_sets lists no digits with its digest" in problems(root, deep=False)
    for change, message in (
        ({"sha256": {path: good["sha256"][path] for path in list(good["sha256"])[1:]}}, "sha256 must name exactly"),
        ({"data_digest": "0" * 64}, "data_digest is not that of its entries"),
        ({"x": 1}, "manifest.json: altered"),
    ):
        (root / MANIFEST).write_text(json.dumps(good | change))
        assert message in problems(root, deep=False)


def test_many_problems_of_one_kind_are_summed_up(root: Path) -> None:
    path = Manifest.load(root).populations["random"].splits["test"].metadata

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["epoch"] = 1000

    forge(root, path, SNAPSHOT_SCHEMA, edit)
    found = verify(root).problems
    assert len(found) == 6
    assert found[-1] == "... and 55 more of this kind"


def rename(root: Path, old: str, new: str) -> None:
    """Give a file another name, in every place that names it."""
    (root / old).rename(root / new)
    for name in (MANIFEST, CHECKSUMS, "README.md"):
        (root / name).write_text((root / name).read_text().replace(old, new))
    seal(root, {"README.md": sha256_of((root / "README.md").read_bytes())})


def test_names_that_do_not_follow_from_the_content(root: Path) -> None:
    manifest = Manifest.load(root)
    path = manifest.trainings["test"]
    new = path.replace(path[-20:-8], "0" * 12)
    rename(root, path, new)
    assert f"a Parquet file must be named {path}, by its SHA-256" in problems(root)
    rename(root, new, path)
    path = manifest.provenance
    rename(root, path, path.replace("trainings-", "other-"))
    assert f"a Parquet file must be named {path}, by its SHA-256" in problems(root)


def test_names_of_shards(root: Path) -> None:
    new = SHARD.replace("00000", "00007")
    (root / SHARD).rename(root / new)
    for name in (MANIFEST, CHECKSUMS):
        (root / name).write_text((root / name).read_text().replace(SHARD, new))
    seal(root, {})
    assert f"shard 0 of random/train must be named {SHARD}" in problems(root, deep=False)


def test_shards_that_go_on_after_their_size(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    records = stage(tmp_path / "staged", "random", range(6))
    write(tmp_path / "large", "random", records)
    shards = Manifest.load(tmp_path / "large").populations["random"].splits["test"].shards
    first = load_file(tmp_path / "large" / shards[0].path)["t000001"].nbytes
    monkeypatch.setattr("nws_data.check.verify.SHARD_SIZES", (first + 4, 1))
    assert "weights/random/test-00000.safetensors: goes on after" in problems(tmp_path / "large", deep=False)
    monkeypatch.setattr("nws_data.check.verify.SHARD_SIZES", (10 * first, 1))
    assert verify(tmp_path / "large", deep=False).ok
    assert problems(root, deep=False) == ""  # closed earlier, as extensions leave them


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("---\n", "", "no readable YAML header"),
        ("config_name: random", "config_name: other", "the configs of its YAML header are not those of manifest.json"),
        ("split: train", "split: validation", "the configs of its YAML header are not those of manifest.json"),
        ("num_examples: 40", "num_examples: 41", "features or row counts of its YAML header are wrong"),
        ("dtype: float64", "dtype: float32", "features or row counts of its YAML header are wrong"),
        ("configs:", "configs: [", "no readable YAML header"),
    ],
)
def test_forged_readme_header(root: Path, old: str, new: str, message: str) -> None:
    text = (root / "README.md").read_text()
    assert old in text
    (root / "README.md").write_text(text.replace(old, new, 1))
    seal(root, {"README.md": sha256_of((root / "README.md").read_bytes())})
    assert f"README.md: {message}" in problems(root, deep=False)


@pytest.mark.parametrize("name", ["README.md", "table"])
def test_a_link_to_nowhere_is_a_missing_file(root: Path, name: str) -> None:
    path = root / (name if name == "README.md" else Manifest.load(root).populations["random"].splits["test"].metadata)
    path.unlink()
    path.symlink_to(root / "pruned")
    assert f"{path.relative_to(root)}: missing" in problems(root)
