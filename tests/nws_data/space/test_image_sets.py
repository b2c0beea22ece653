"""Image sets as recorded: names, thresholds."""

import pytest

from nws_data.errors import FormatError
from nws_data.space.image_sets import ImageSet, threshold_of

FIELDS = {"threshold": 0.5, "source": "made up", "n_train": 10, "n_test": 10, "digest": "0"}


@pytest.mark.parametrize("name", ["mnist", "my-cells_2.0", "A"])
def test_names(name):
    assert ImageSet(name=name, **FIELDS).name == name


@pytest.mark.parametrize("name", ["", None, "a/b", "a=b", "x/fold=1", "*", "a b", "a\nb", "adam", "glorot_normal", "widest"])
def test_names_that_mean_something_else_in_a_task(name):
    with pytest.raises(FormatError, match="an image set's name has letters"):
        ImageSet(name=name, **FIELDS)


def test_thresholds_of_the_paper():
    assert [threshold_of(n) for n in ("mnist", "cifar10", "svhn", "stl10", "fashion_mnist")] == [0.8, 0.25, 0.5, 0.25, 0.5]
    assert threshold_of("cells") == 0.25
