"""Names of tasks: what they say, and what is refused."""

import pytest

from nws_data.errors import TaskError
from nws_data.tasks.table import FAMILIES, matching_names, official_names, parse_task


@pytest.mark.parametrize(
    "name",
    [
        "global/optimizer",
        "local/width_fc",
        "local-conv/dataset@1000",
        "local-fc/activation@20000",
        "vote/depth_conv",
        "regress/progress",
        "regress-local/test_accuracy@100",
        "ood/optimizer/held=mnist",
        "ood-local/filter_size@500/held=widest",
        "global/initialization/threshold=0.15",
        "local/optimizer/threshold=0/fold=4",
        "local/optimizer/permuted=3",
        "ood/activation/held=adam/threshold=0.2/fold=1/permuted=12",
        "local/optimizer/tier=1GB",
        "global/dataset/threshold=0.2/fold=1/share=0.125/permuted=12/tier=1.5GB",
    ],
)
def test_canonical_names_read_back(name):
    assert parse_task(name).name == name


def test_the_default_length_is_not_named():
    assert parse_task("local/optimizer/threshold=-0").name == "local/optimizer/threshold=0"
    assert parse_task("local/optimizer@5000").name == "local/optimizer"
    assert parse_task("local/optimizer/fold=1/threshold=0.20").name == "local/optimizer/threshold=0.2/fold=1"
    assert parse_task("local/optimizer/tier=1000mb/fold=1").name == "local/optimizer/fold=1/tier=1GB"
    assert (
        parse_task("local/optimizer/tier=full").name == "local/optimizer"
        and parse_task("local/optimizer/tier=full").official
    )


def test_what_a_name_says():
    spec = parse_task("ood-local/activation@700/held=glorot_normal")
    assert (spec.target, spec.length, spec.held, spec.held_column) == ("activation", 700, "glorot_normal", "initialization")
    assert spec.official and not parse_task("global/optimizer/fold=0").official
    assert not parse_task("global/optimizer/tier=1GB").official
    assert parse_task("ood/optimizer/held=cells").held_column == "dataset"
    assert parse_task("global/optimizer").length is None and parse_task("local/optimizer").length == 5000
    assert [fold.name for fold in parse_task("local/optimizer").folds()] == [f"local/optimizer/fold={k}" for k in range(5)]


def test_snapshots_of_each_side():
    last = [
        (name, FAMILIES[name].last(target, "train"), FAMILIES[name].last(target, "test"))
        for name, target in [("global", "dataset"), ("local", "dataset"), ("vote", "dataset"), ("regress", "progress")]
    ]
    assert last == [("global", 4, 1), ("local", 2, 1), ("vote", 2, 1), ("regress", 20, 20)]


def test_all_official_names_are_canonical_and_differ():
    names = list(official_names(["mnist", "digits"]))
    assert len(names) == len(set(names))
    assert [parse_task(name).name for name in names] == names and all(parse_task(name).official for name in names)
    assert sum(name.startswith("global/") for name in names) == 6 and sum(name.startswith("local/") for name in names) == 11
    assert "ood/optimizer/held=digits" in names and "ood/optimizer/held=adam" not in names
    assert "ood-local/dataset/held=widest" in names and "ood-local/width_conv/held=widest" not in names


def test_patterns_with_modifiers():
    sets = ["mnist", "digits"]
    assert matching_names(sets, "*") == list(official_names(sets))
    assert matching_names(sets, "global/*tion/threshold=0.0") == [
        "global/augmentation/threshold=0",
        "global/activation/threshold=0",
        "global/initialization/threshold=0",
    ]
    assert matching_names(sets, "local/*conv@500/tier=1GB/fold=1") == [
        "local/depth_conv@500/fold=1/tier=1GB",
        "local/width_conv@500/fold=1/tier=1GB",
    ]
    assert matching_names(sets, "ood-local/width_fc/held=mn*@500") == ["ood-local/width_fc@500/held=mnist"]
    assert matching_names(sets, "regress/nothing*/threshold=0") == []
    with pytest.raises(TaskError, match=r"fold must be a whole number in \[0, 4\]"):
        matching_names(sets, "global/*/fold=5")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optimizer", "a name is FAMILY/TARGET"),
        (None, "a name is FAMILY/TARGET"),
        ("local/optimizer@" + "9" * 5000, "a name is FAMILY/TARGET"),
        ("ood/optimizer/held=a\nb", "a name is FAMILY/TARGET"),
        ("global/optimizer ", "a name is FAMILY/TARGET"),
        ("golbal/optimizer", "family: got 'golbal' .did you mean global.*; choose one of global, local"),
        ("global/width_fc", "target of global: got 'width_fc'; choose one of dataset"),
        ("regress/optimizer", "target of regress: got 'optimizer'"),
        ("global/optimizer@500", "reads whole vectors, without @LENGTH"),
        ("local/optimizer@99", r"window length must be in \[100, 20000\], got 99"),
        ("local/optimizer@20001", "got 20001"),
        ("local/optimizer/colour=red", "modifier: got 'colour'; choose one of held, threshold, fold, share, permuted"),
        ("local/optimizer/fold=1/fold=2", "each once"),
        ("local/optimizer/fold=5", r"fold must be a whole number in \[0, 4\], got '5'"),
        ("local/optimizer/fold=-1", "fold must be a whole number"),
        ("local/optimizer/threshold=1", r"number in \[0, 1\)"),
        ("local/optimizer/threshold=nan", "threshold must be"),
        ("local/optimizer/threshold=0.12345678", "at most six digits"),
        ("ood/optimizer", "ood needs /held=VALUE"),
        ("global/optimizer/held=mnist", "global has no held="),
        ("ood/optimizer/held=adam", "held=adam is a value of the target itself"),
        ("ood/dataset/held=mnist", "is a value of the target itself"),
        ("ood/dataset/held=widest", "use ood-local/dataset/held=widest"),
        ("ood-local/width_conv/held=widest", "is a value of the target itself"),
        (
            "local/optimizer/tier=big",
            "local/optimizer/tier=big: tier must be 1GB, 10GB, full or another size such as 500MB, got 'big'",
        ),
        ("regress/progress/permuted=1", "labels of regression tasks are not permuted"),
    ],
)
def test_what_is_refused(name, message):
    with pytest.raises(TaskError, match=message):
        parse_task(name)
