"""Image options: what is refused before any image is loaded, and what a dataset records."""

import pytest

from builders.images.bank import ImageBank
from builders.images.prepare import ImageOptions, prepare_images
from nws_data.errors import BuildError


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ((), "no image source; give --images"),
        (("digits", "digits"), "--images names a set twice: digits, digits"),
        (("digits", "digits=other.npz"), "--images names a set twice: digits, digits"),
        (("mnits",), "mnits"),
    ],
)
def test_refused_sources(sources, message):
    with pytest.raises(BuildError, match=message):
        ImageOptions(sources=sources)


def test_prepared_images_are_banked_and_recorded(tmp_path):
    (recorded,) = prepare_images(tmp_path, ImageOptions(sources=("digits",), n_train=100, n_test=50))
    assert (recorded.name, recorded.threshold, recorded.n_train, recorded.n_test) == ("digits", 0.5, 100, 50)
    assert recorded == ImageBank.open(tmp_path).sets["digits"]
    assert "first 10 train images of each class" in recorded.source
