"""Views, labels and scores of tasks, and every wrong prediction that is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import nws_data
from nws_data.cli import main
from nws_data.errors import FormatError, PredictionError, TaskError, TaskNotAvailableError
from nws_data.tasks.predictions import Predictions, key_text
from nws_data.tasks.task import Task
from tests.conftest import stage, write
from tests.processes import python

LOCAL = "local/augmentation@200"


@pytest.fixture(scope="module")
def local(task_dataset) -> Task:
    return nws_data.load_task(LOCAL, task_dataset.root)


@pytest.fixture(scope="module")
def whole(task_dataset) -> Task:
    return nws_data.load_task("global/augmentation/threshold=0", task_dataset.root)


@pytest.fixture(scope="module")
def regress(task_dataset) -> Task:
    return nws_data.load_task("regress/learning_rate", task_dataset.root)


def test_views_of_windows(local):
    assert isinstance(local.train, nws_data.RandomWindows) and isinstance(local.test, nws_data.FixedWindows)
    assert len(local.train) == 2 * sum(local.counts["train"].values())
    assert len(local.test) == 10 * sum(local.counts["test"].values())
    fixed = local.view("train", fixed=True)
    assert isinstance(fixed, nws_data.FixedWindows) and len(fixed) == 10 * len(local.train)
    weights, label = local.test[13]
    row = local.test.rows[13]
    start = local.test.starts()[13]
    assert torch.equal(weights, local.test.data.vector(row)[start : start + 200])
    assert local.classes[label] == local.test.data["augmentation"][row]
    assert local.classes == (False, True) and local.n_classes == 2 and local.chance == 0.5 and local.kind == "classification"
    with pytest.raises(TaskError, match="side: got 'dev'"):
        local.view("dev")


def test_views_of_vectors(whole, regress):
    assert isinstance(whole.train, nws_data.GlobalVectors) and whole.test[0][0].shape == (92868,)
    assert not whole.official and "unofficial" in repr(whole)
    assert regress.train.labels.dtype == torch.float32 and regress.classes is None and regress.chance is None
    with pytest.raises(TaskError, match="it has no classes"):
        _ = regress.n_classes


def test_training_windows_follow_the_seed(task_dataset):
    starts = [nws_data.load_task(LOCAL, task_dataset.root, seed=seed).train.starts().tolist() for seed in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]


@pytest.mark.parametrize("side", ["train", "validation", "test"])
@pytest.mark.parametrize("name", [LOCAL, "regress/test_accuracy"])
def test_views_with_a_transform(task_dataset, side, name):
    task = nws_data.load_task(name, task_dataset.root)
    plain, changed = task.view(side), task.view(side, transform=torch.Tensor.asinh)
    assert torch.equal(changed[:5][0], plain[:5][0].asinh()) and torch.equal(changed.labels, plain.labels)


def test_permuted_labels_stay_together_and_change_training_alone(task_dataset, local):
    task = nws_data.load_task(f"{LOCAL}/permuted=1", task_dataset.root)
    ids, labels = task.train.data["training"], task.train.row_labels
    assert all(len(set(labels[ids == training].tolist())) == 1 for training in ids)
    assert sorted(labels.tolist()) == sorted(local.train.row_labels.tolist())
    assert not torch.equal(labels, local.train.row_labels)
    assert torch.equal(task.test.labels, local.test.labels) and torch.equal(task.validation.labels, local.validation.labels)
    other = nws_data.load_task(f"{LOCAL}/permuted=2", task_dataset.root)
    assert not torch.equal(labels, other.train.row_labels)
    assert torch.equal(task.view("train", fixed=True).row_labels, labels)


def test_a_share_of_the_training_side_is_its_trainings_of_smallest_id_hash(task_dataset, local):
    """The hash by hashlib: SHA-256 of the id."""
    task = nws_data.load_task(f"{LOCAL}/share=0.3", task_dataset.root)
    whole, kept = local.train.data, set(task.train.data["training"].tolist())
    for value in local.classes:
        ids = sorted(set(whole["training"][whole[local.target] == value]), key=lambda i: sha256(i.encode()).hexdigest())
        assert kept & set(ids) == set(ids[: ceil(0.3 * len(ids))]) != set(ids)
    assert sum(task.counts["train"].values()) == len(kept)
    assert task.counts["test"] == local.counts["test"] and torch.equal(task.validation.labels, local.validation.labels)
    assert not task.official
    with pytest.raises(TaskError, match="share must be above 0"):
        nws_data.load_task(f"{LOCAL}/share=0", task_dataset.root)


def test_perfect_and_constant_predictions(local):
    labels = local.test.labels
    shown = f"Predictions({local.name!r}: {len(labels):,} values, data {local.data_digest[:12]})"
    assert repr(local.predictions(labels)) == shown
    score = local.evaluate(labels)
    assert score.accuracy == 1 and score.accuracy_low < 1 == score.accuracy_high and score.classes == ("False", "True")
    constant = local.evaluate(np.zeros(len(labels), int))
    assert constant.accuracy == constant.chance == local.chance and constant.per_class == {"False": 1.0, "True": 0.0}
    scores = torch.nn.functional.one_hot(labels, 2).float() * 0.1 - 5
    assert local.evaluate(scores) == local.evaluate(scores.numpy()) == score
    values = [local.classes[label] for label in labels]
    assert local.evaluate(values) == score and local.evaluate(np.array(values, dtype=str)) == score


def test_class_values_that_are_numbers(task_dataset):
    task = nws_data.load_task("local/depth_fc/threshold=0", task_dataset.root)
    values = np.array([task.classes[label] for label in task.test.labels], dtype=str)
    assert task.evaluate(values).accuracy == 1
    assert task.evaluate(values.astype(float)).accuracy == 1  # 3.0 is the class 3
    assert task.evaluate(task.test.labels.numpy()).accuracy == 1  # whole numbers are labels


def test_values_as_training_loops_hand_them_out(local, regress):
    """Batches as Lightning returns them, one row an item, half precision, whole-number class values."""
    labels = local.test.labels
    scores = torch.nn.functional.one_hot(labels, 2).float()
    for values in (list(scores.split(7)), [part.numpy() for part in scores.split(64)], list(scores), scores.bfloat16()):
        assert local.evaluate(values).accuracy == 1
    assert local.evaluate(list(labels.split(11))).accuracy == 1
    truth = regress.test.labels
    assert regress.evaluate(list(truth.split(1))).r2 == pytest.approx(1)
    assert regress.evaluate(list(truth[:, None].split(4))).r2 == pytest.approx(1)
    with pytest.raises(PredictionError, match="predictions must be an array, a tensor or a list of batches"):
        local.evaluate([[1, 2], [3]])
    with pytest.raises(PredictionError, match="predictions must be"):
        local.evaluate(list(scores.split(7))[1:])


def test_whole_numbers_that_are_class_values_and_no_labels(task_dataset):
    task = nws_data.load_task("local/depth_fc/threshold=0", task_dataset.root)
    values = np.array([task.classes[label] for label in task.test.labels])
    assert set(values.tolist()) == {3, 4, 5} and task.evaluate(values).accuracy == 1


def test_regression_by_hand(regress):
    truth = regress.test.data["learning_rate"]
    score = regress.evaluate(np.full(len(truth), truth.mean()))
    assert score.r2 == pytest.approx(0, abs=1e-12) and score.mae == pytest.approx(np.abs(truth - truth.mean()).mean())
    assert regress.evaluate(truth).r2 == 1 and regress.evaluate(truth[:, None]).kendall_tau == pytest.approx(1)


def test_votes(task_dataset):
    task = nws_data.load_task("vote/augmentation@200", task_dataset.root)
    n, labels = len(task.test.data), task.test.labels
    assert len(task.predictions(labels)) == n and len(task.test) == 10 * n
    assert task.evaluate(labels).accuracy == 1 and set(task.evaluate(labels).n_items) == {1}
    six_right = labels.reshape(n, 10).clone()
    six_right[:, :4] = 1 - six_right[:, :4]
    assert task.evaluate(six_right.reshape(-1)).accuracy == 1
    four_right = 1 - six_right
    assert task.evaluate(four_right.reshape(-1)).accuracy == 0
    sure = torch.nn.functional.one_hot(four_right.reshape(-1), 2).float()
    sure[torch.arange(len(sure)) % 10 < 4] *= 3  # the four right ones are surer: the mean of scores follows them
    assert task.evaluate(sure).accuracy == 1


def test_a_file_in_any_order_gives_the_same_score(local, tmp_path):
    rng = np.random.default_rng(0)
    predictions = local.predictions(rng.random((len(local.test), 2)))
    predictions.save(tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["training", "snapshot", "window", "start", "prediction"]
    pq.write_table(table.take(rng.permutation(len(table))), tmp_path / "shuffled.parquet")
    expected = local.evaluate(predictions)
    assert local.evaluate(tmp_path / "p.parquet") == local.evaluate(tmp_path / "shuffled.parquet") == expected
    again = Predictions.load(tmp_path / "p.parquet")
    again.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "p.parquet").read_bytes()


def changed(predictions: Predictions, rows: np.ndarray) -> Predictions:
    keys = {name: column[rows] for name, column in predictions.keys.items()}
    return replace(predictions, keys=keys, values=predictions.values[rows])


def test_what_is_not_exactly_asked_for_is_refused(local):
    good = local.predictions(local.test.labels)
    n, first = len(good), key_text(good.keys, 0)
    every = np.arange(n)
    with pytest.raises(PredictionError, match=f"2 predictions missing, the first {first}; this task asks for exactly {n}"):
        local.evaluate(changed(good, every[2:]))
    with pytest.raises(PredictionError, match=f"1 prediction duplicated, the first {first}; this task asks for exactly {n}"):
        local.evaluate(changed(good, np.append(every, 0)))
    strange = good.keys | {"training": np.append(good.keys["training"][1:], "random-999999")}
    with pytest.raises(PredictionError, match=r"missing.* and \d+ are not of this task, the first "):
        local.evaluate(replace(good, keys=strange))
    both = changed(good, np.append(every, 0))
    more = both.keys | {"snapshot": np.append(good.keys["snapshot"], 18)}
    with pytest.raises(PredictionError, match=r"1 prediction extra, the first .*snapshot 18, window 0 at 0"):
        local.evaluate(replace(both, keys=more))
    moved = good.keys | {"start": good.keys["start"] + (every == 3)}
    with pytest.raises(PredictionError, match=r"1 prediction missing, the first .*window 3 at .*1 are not of this task"):
        local.evaluate(replace(good, keys=moved))
    with pytest.raises(
        PredictionError, match=f"3 of {n} predictions are no class .* the first 'maybe' for {first}; classes"
    ):
        local.evaluate(replace(good, values=np.where(every < 3, "maybe", good.values)))
    with pytest.raises(
        PredictionError, match=f"all {n} predictions were made on other data, digest '000000000000'; random in"
    ):
        local.evaluate(replace(good, data_digest="0" * 64))
    with pytest.raises(PredictionError, match="for the task 'local/optimizer', not for local/augmentation@200"):
        local.evaluate(replace(good, task="local/optimizer"))
    with pytest.raises(PredictionError, match=f"{n - 1} predictions for {n} keys"):
        local.evaluate(replace(good, values=good.values[1:]))
    with pytest.raises(PredictionError, match="asks for predictions of windows"):
        local.evaluate(replace(good, keys={name: good.keys[name] for name in ("training", "snapshot")}))


def test_values_that_cannot_be_are_refused(local, whole, regress):
    n = len(local.test)
    scores = np.zeros((n, 2))
    scores[[4, 9], 1] = np.nan, np.inf
    with pytest.raises(PredictionError, match=f"2 of {n} predictions are not finite .* the first for random-"):
        local.evaluate(scores)
    with pytest.raises(PredictionError, match=rf"2 of {n} labels are not in \[0, 1\], the first 7 for"):
        local.evaluate(np.where(np.arange(n) < 2, 7, 0))
    for values in (np.zeros(n - 1, int), np.zeros((n, 3)), np.zeros((n, 2, 1)), 3):
        with pytest.raises(PredictionError, match=rf"predictions must be \({n}, 2\) scores or \({n},\) labels"):
            local.evaluate(values)
    windows = np.zeros((n, 2))
    windows[3] = np.nan
    with pytest.raises(PredictionError, match=r"the first for random-.*, snapshot 19, window 3 at "):
        local.evaluate(windows)
    truth = regress.test.labels.numpy().copy()
    for value in (True, 1e200):
        with pytest.raises(PredictionError, match=r"asks for numbers, got bool|not finite"):
            regress.evaluate(np.full(len(truth), value))
    truth[3] = np.nan
    with pytest.raises(PredictionError, match=f"1 of {len(truth)} predictions are not finite .* fixed-"):
        regress.evaluate(truth)
    with pytest.raises(PredictionError, match="asks for numbers, got"):
        regress.evaluate(np.full(len(truth), "fast"))
    with pytest.raises(PredictionError, match="without window and start"):
        whole.evaluate(replace(local.predictions(local.test.labels), task=whole.name, data_digest=whole.data_digest))


def rewrite(path, change) -> str:
    """Change a prediction file's table; return the file's name."""
    table = pq.read_table(path)
    out = path.with_name("changed.parquet")
    changed_table = change(table)
    if changed_table.schema.metadata is None:
        changed_table = changed_table.replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed_table, out)
    return str(out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(3), "3 predictions missing, the first random-"),
        (lambda t: pa.concat_tables([t, t.slice(0, 2)]), "2 predictions duplicated, the first random-"),
        (lambda t: t.drop_columns(["start"]), "column 'start' is missing"),
        (lambda t: t.drop_columns(["prediction"]), "column 'prediction' is missing"),
        (lambda t: t.append_column("extra", [[1] * len(t)]), "column 'extra' is missing, unknown or doubled"),
        (lambda t: t.replace_schema_metadata({}), "do not say that it is nws-predictions"),
        (lambda t: t.replace_schema_metadata({"nws": '{"format": "nws-predictions", "version": 9}'}), "of version 1"),
        (lambda t: t.set_column(4, "prediction", [[None] * len(t)]), "predictions are not finite"),
        (
            lambda t: t.set_column(4, "prediction", [[None, *["True"] * (len(t) - 1)]]),
            "1 of .* the first 'None' for random-",
        ),
        (lambda t: t.set_column(1, "snapshot", [["19"] * len(t)]), "snapshot must be a whole number, got '19' in row 0"),
        (lambda t: t.set_column(1, "snapshot", [[None] * len(t)]), "snapshot must be a whole number, got None"),
    ],
)
def test_wrong_files_are_refused_by_the_command(local, task_dataset, tmp_path, capsys, change, message):
    local.predictions(local.test.labels).save(tmp_path / "good.parquet")
    assert main(["score", rewrite(tmp_path / "good.parquet", change), "--data", str(task_dataset.root)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith("nws: ")


def test_flipped_bits_are_never_other_predictions(regress, tmp_path):
    """A flipped bit is refused, or leaves all values what they were."""
    predictions = regress.predictions(np.random.default_rng(0).random(len(regress.test)))
    predictions.save(tmp_path / "p.parquet")
    raw = (tmp_path / "p.parquet").read_bytes()
    refused = 0
    for bit in np.random.default_rng(1).choice(8 * len(raw), 150, replace=False).tolist():
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "q.parquet").write_bytes(flipped)
        try:
            found = Predictions.load(tmp_path / "q.parquet")
            regress.evaluate(found)
        except PredictionError:
            refused += 1
        else:
            assert np.array_equal(found.values, predictions.values)
    assert refused > 50


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([b"x"] * 9), "prediction must be a text of at most 1,000 printable characters, got bytes"),
        (pa.array(["x" * 200_000] * 9), "prediction must be a text of at most"),
        (pa.array(["0.5"] * 9), "asks for numbers, got object such as '0.5'"),
        (pa.array([True] * 9), "asks for numbers"),
        (pa.array([2**63] * 9, pa.uint64()), "missing"),
    ],
)
def test_odd_columns(regress, tmp_path, column, message):
    regress.predictions(regress.test.labels).save(tmp_path / "p.parquet")
    n = len(regress.test)
    path = rewrite(tmp_path / "p.parquet", lambda t: t.slice(0, 9).set_column(2, "prediction", column))
    if "missing" not in message and "got bytes" not in message:  # give the others their full length
        path = rewrite(
            tmp_path / "p.parquet", lambda t: t.set_column(2, "prediction", pa.concat_arrays([column.slice(0, 1)] * n))
        )
    with pytest.raises(PredictionError) as caught:
        regress.evaluate(path)
    assert message in str(caught.value) and len(str(caught.value)) < 600


def test_files_that_are_none(task_dataset, tmp_path, capsys):
    (tmp_path / "text.parquet").write_text("no parquet")
    for name, message in (
        ("text.parquet", "not a readable prediction file"),
        ("absent.parquet", "no such file"),
        (".", "no such file"),
    ):
        assert main(["score", str(tmp_path / name), "--data", str(task_dataset.root)]) == 2
        assert message in capsys.readouterr().err


def test_the_command_scores(local, regress, task_dataset, tmp_path, capsys):
    local.predictions(local.test.labels).save(tmp_path / "p.parquet")
    assert main(["score", str(tmp_path / "p.parquet"), "--data", str(task_dataset.root)]) == 0
    assert "accuracy 100.0 %" in capsys.readouterr().out
    regress.predictions(regress.test.labels).save(tmp_path / "r.parquet")
    assert main(["score", str(tmp_path / "r.parquet"), "--data", str(task_dataset.root), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["task"] == "regress/learning_rate" and values["score"]["r2"] == pytest.approx(1, abs=1e-6)


def test_predictions_of_another_dataset_are_named_first(local, tiny_dataset, tmp_path, capsys):
    """The other dataset is too small for the task, but that is not what is wrong."""
    local.predictions(local.test.labels).save(tmp_path / "p.parquet")
    assert main(["score", str(tmp_path / "p.parquet"), "--data", str(tiny_dataset.root)]) == 2
    error = capsys.readouterr().err
    assert (
        f"predictions were made on other data, digest {local.data_digest[:12]!r}; random in {tiny_dataset.root} is" in error
    )


def test_labels_as_floats(local):
    labels = local.test.labels.numpy()
    assert local.evaluate(labels.astype(np.float32)) == local.evaluate(labels)
    with pytest.raises(PredictionError, match=r"no class of this task, the first '[01]\.5'"):
        local.evaluate(labels + 0.5)


@pytest.mark.slow
def test_scoring_needs_no_weights_and_no_checkout(local, task_dataset, tmp_path):
    """A folder with the metadata alone, in a process that may load neither lightning nor scikit-learn."""
    local.predictions(local.test.labels).save(tmp_path / "p.parquet")
    for name in ("manifest.json", "metadata"):
        (tmp_path / name).symlink_to(task_dataset.root / name)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['lightning', 'sklearn', 'baselines', 'builders']));"
        "from nws_data.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    process = python(code, "score", str(tmp_path / "p.parquet"), "--data", str(tmp_path))
    assert process.wait(300) == 0 and "accuracy 100.0 %" in process.printed(), process.printed()


def test_the_other_population_may_grow(task_dataset, local, whole):
    """Results name the population's digest, not the dataset's."""
    manifest = task_dataset.manifest
    assert local.data_digest == manifest.population_digest("random") != whole.data_digest != manifest.data_digest
    alone = replace(manifest, populations={"random": manifest.populations["random"]})
    assert alone.population_digest("random") == local.data_digest
    stricter = tuple(replace(s, threshold=0.6) for s in manifest.image_sets)
    assert replace(manifest, image_sets=stricter).population_digest("random") != local.data_digest


def test_listing_tasks(task_dataset, capsys):
    assert main(["tasks", str(task_dataset.root)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^local/augmentation +2 +66 +4 +18$", text, re.MULTILINE)
    assert re.search(
        r"28 of 58 tasks .*\n\n30 more .*\n  10  test needs 5 a class\n  20  train needs 5 a class\n", text, re.DOTALL
    )
    assert "'global/*/threshold=0'" in text and len(text.splitlines()) < 45
    assert main(["tasks", "--all", str(task_dataset.root)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  local/batch_size +test needs 5 a class, has \d of \d+$", text, re.MULTILINE)
    assert text.index("regress/progress") < text.index("local/batch_size")  # what there is comes first
    assert main(["tasks", str(task_dataset.root), "local/a*/threshold=0.1"]) == 0
    text = capsys.readouterr().out
    assert (
        re.search(r"^local/augmentation/threshold=0.1 +2 +76 +\d+ +\d+$", text, re.MULTILINE) and "/activation/thr" in text
    )
    assert main(["tasks", str(task_dataset.root), "local/aug*", "ood-local/augmentation/held=adam", "--json"]) == 0
    states = json.loads(capsys.readouterr().out)
    assert [state["name"] for state in states] == ["local/augmentation", "ood-local/augmentation/held=adam"]
    assert states[0]["available"] and states[0]["counts"]["test"]["True"] >= 5
    assert main(["tasks", str(task_dataset.root), "nothing/*"]) == 2
    assert "no official task is called 'nothing/*'" in capsys.readouterr().err


def test_datasets_that_are_none(tmp_path):
    with pytest.raises(FormatError, match=r"no manifest.json"):
        nws_data.load_task("global/optimizer", tmp_path)
    write(tmp_path / "one", "fixed", stage(tmp_path / "staged", "fixed", range(2)))
    with pytest.raises(TaskNotAvailableError, match=r"needs the population random, .* has fixed; build it"):
        nws_data.load_task("local/optimizer", tmp_path / "one")
