"""Table 1 of the paper: values, uniform sampling, and messages that name value and choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from nws_data.errors import HyperParameterError
from nws_data.randomness import Purpose, words
from nws_data.space.hyperparameters import (
    CLASSES,
    COLUMNS,
    FIXED_ARCHITECTURE,
    LEARNING_RATE,
    HyperParameters,
    sample_many,
)

VALUES = {
    "dataset": "mnist",
    "learning_rate": 0.001,
    "batch_size": 64,
    "augmentation": True,
    "optimizer": "adam",
    "activation": "relu",
    "initialization": "constant",
    "filter_size": 5,
    "depth_conv": 3,
    "depth_fc": 4,
    "width_conv": 32,
    "width_fc": 192,
}


@pytest.fixture(scope="module")
def drawn() -> list[HyperParameters]:
    return [*sample_many(range(3000), "random")]


def test_table_1():
    assert CLASSES == {
        "dataset": ("mnist", "cifar10", "svhn", "stl10", "fashion_mnist"),
        "batch_size": (32, 64, 128, 256),
        "augmentation": (False, True),
        "optimizer": ("adam", "rmsprop", "momentum"),
        "activation": ("relu", "elu", "sigmoid", "tanh"),
        "initialization": ("constant", "random_normal", "glorot_uniform", "glorot_normal"),
        "filter_size": (3, 5, 7),
        "depth_conv": (3, 4, 5),
        "depth_fc": (3, 4, 5),
        "width_conv": (16, 32, 48),
        "width_fc": (64, 128, 192),
    }
    assert LEARNING_RATE == (0.0002, 0.005)
    fixed = {"filter_size": 5, "depth_conv": 3, "depth_fc": 3, "width_conv": 32, "width_fc": 128}
    assert fixed == FIXED_ARCHITECTURE
    assert ("dataset", "learning_rate", *list(CLASSES)[1:], "batch_norm") == COLUMNS


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_equally_likely(drawn, name):
    counts = Counter(getattr(hp, name) for hp in drawn)
    assert set(counts) == set(CLASSES[name])
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_learning_rate_is_uniform(drawn):
    low, high = LEARNING_RATE
    assert stats.kstest([hp.learning_rate for hp in drawn], "uniform", args=(low, high - low)).pvalue > 1e-3


def test_hyperparameters_are_independent(drawn):
    labels = {name: [CLASSES[name].index(getattr(hp, name)) for hp in drawn] for name in CLASSES}
    p_values = []
    for i, a in enumerate(CLASSES):
        for b in list(CLASSES)[:i]:
            table = np.zeros((len(CLASSES[a]), len(CLASSES[b])))
            np.add.at(table, (labels[a], labels[b]), 1)
            p_values.append(stats.chi2_contingency(table).pvalue)
    assert len(p_values) == 55 and min(p_values) > 1e-3 / 55


def test_fixed_differs_from_random_in_the_architecture_alone(drawn):
    for seed in range(50):
        fixed = next(sample_many([seed], "fixed"))
        assert asdict(fixed) == asdict(drawn[seed]) | FIXED_ARCHITECTURE


def test_word_0_is_the_learning_rate_and_word_1_the_image_set():
    raw = words(17, Purpose.HYPERPARAMETERS, 0, 12).tolist()
    hp = next(sample_many([17], "random"))
    assert hp.learning_rate == pytest.approx(0.0002 + 0.0048 * raw[0] / 2**32, rel=1e-12)
    for word, (name, classes) in zip(raw[1:], CLASSES.items(), strict=True):
        assert getattr(hp, name) == classes[int(word / 2**32 * len(classes))]


def test_image_sets_may_be_any_names_and_change_nothing_else(drawn):
    chosen = [*sample_many(range(200), "random", ["svhn", "digits"], batch_norm=False)]
    assert {hp.dataset for hp in chosen} == {"svhn", "digits"}
    for hp, reference in zip(chosen, drawn, strict=False):
        assert asdict(hp) | {"dataset": "", "batch_norm": True} == asdict(reference) | {"dataset": ""}


def test_dict_both_ways():
    hp = HyperParameters(**VALUES)
    assert hp.batch_norm is True
    assert tuple(hp.to_dict()) == COLUMNS
    assert HyperParameters.from_dict(hp.to_dict()) == hp
    assert HyperParameters.from_dict(VALUES) == hp


BAD_VALUES = {name: "nonsense" if isinstance(values[0], str) else 17 for name, values in CLASSES.items()}
del BAD_VALUES["dataset"]


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_value_outside_table_1_is_refused(name):
    with pytest.raises(HyperParameterError) as caught:
        HyperParameters(**VALUES | {name: BAD_VALUES[name]})
    assert name in str(caught.value) and repr(BAD_VALUES[name]) in str(caught.value)
    assert all(str(value) in str(caught.value) for value in CLASSES[name])


@pytest.mark.parametrize("rate", [0.0001, 0.0051, 0.0, float("nan"), float("inf")])
def test_a_learning_rate_outside_the_bounds_is_refused(rate):
    with pytest.raises(HyperParameterError, match=rf"learning_rate must be in \[0.0002, 0.005\], got {rate}"):
        HyperParameters(**VALUES | {"learning_rate": rate})


@pytest.mark.parametrize("rate", ["0.001", None, True, [0.001]])
def test_a_learning_rate_must_be_a_float(rate):
    with pytest.raises(HyperParameterError, match=r"learning_rate must be in \[0.0002, 0.005\], got .*; give a float"):
        HyperParameters(**VALUES | {"learning_rate": rate})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("filter_size", 5.0, "int"),
        ("batch_size", "64", "int"),
        ("depth_conv", np.int64(3), "int"),
        ("augmentation", 1, "bool"),
        ("batch_norm", 1.0, "bool"),
        ("optimizer", b"adam", "str"),
        ("width_fc", [64], "int"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, kind):
    with pytest.raises(HyperParameterError) as caught:
        HyperParameters(**VALUES | {name: value})
    assert str(caught.value).startswith(f"{name}: got {value!r}; choose one of ")
    assert str(caught.value).endswith(f" ({kind})")


def test_numpy_text_and_floats_are_text_and_floats():
    numpy_values = {"optimizer": np.str_("adam"), "learning_rate": np.float64(0.001)}
    assert HyperParameters(**VALUES | numpy_values) == HyperParameters(**VALUES)


def test_the_bounds_of_the_learning_rate_are_allowed():
    for rate in LEARNING_RATE:
        assert HyperParameters(**VALUES | {"learning_rate": rate}).learning_rate == rate


@pytest.mark.parametrize("value", ["", 3, None])
def test_a_dataset_needs_a_name(value):
    with pytest.raises(HyperParameterError, match=f"name of an image set, got {value!r}"):
        HyperParameters(**VALUES | {"dataset": value})


def test_batch_norm_is_on_or_off():
    with pytest.raises(HyperParameterError, match="batch_norm: got 'off'; choose one of False, True"):
        HyperParameters(**VALUES | {"batch_norm": "off"})


def test_unknown_and_missing_names_are_refused():
    with pytest.raises(HyperParameterError, match=r"hyper-parameter: got 'depth'.*; choose one of dataset, .*batch_norm"):
        HyperParameters.from_dict(VALUES | {"depth": 3})
    without = {name: value for name, value in VALUES.items() if name not in ("width_fc", "optimizer")}
    with pytest.raises(HyperParameterError, match="missing hyper-parameters: optimizer, width_fc"):
        HyperParameters.from_dict(without)


def test_messages_of_sampling():
    with pytest.raises(HyperParameterError, match="population: got 'all'; choose one of fixed, random"):
        next(sample_many([0], "all"))
    with pytest.raises(HyperParameterError, match="image_sets is empty; name at least one"):
        next(sample_many([0], "fixed", []))
