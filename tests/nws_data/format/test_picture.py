"""The picture of a card: what its lines say, read back from the SVG."""

from xml.etree import ElementTree

import pytest

from nws_data.format.picture import draw_trainings
from nws_data.space.image_sets import ImageSet
from tests.conftest import IMAGE_SETS, TinyDataset

_SVG = "{http://www.w3.org/2000/svg}"


def test_every_training_is_a_line_of_its_accuracies(tiny_dataset: TinyDataset) -> None:
    root = ElementTree.parse(tiny_dataset.root / "trainings.svg").getroot()
    panels = root.findall(f"{_SVG}g")
    assert [panel.findall(f"{_SVG}text")[3].text for panel in panels] == [f"{s.name}: test accuracy %" for s in IMAGE_SETS]
    lines = [line for panel in panels for line in panel.findall(f"{_SVG}polyline")]
    assert len(lines) == 32
    record = tiny_dataset.record("fixed-000000")
    drawn = {line.attrib["points"]: line.attrib["stroke"] for line in lines}
    points = " ".join(
        f"{i * 200 / 19:.0f},{130 - 130 * record.test_accuracy[epoch]:.1f}" for i, epoch in enumerate(record.snapshot_epochs)
    )
    assert points in drawn
    of = {"adam": 0, "rmsprop": 1, "momentum": 2}[record.hyperparameters.optimizer]
    assert drawn[points] == root.findall(f"{_SVG}path")[of].attrib["stroke"]


@pytest.mark.parametrize("n", [1, 3, 4, 5])
def test_panels_stand_beside_and_below_each_other(n: int) -> None:
    sets = [ImageSet(name=f"set{i}", threshold=0.25, source="", n_train=1, n_test=1, digest=str(i)) for i in range(n)]
    row = {"optimizer": "adam", "snapshot_epochs": list(range(20)), "test_accuracy": [i / 19 for i in range(20)]}
    unused = ImageSet(name="unused", threshold=0.25, source="", n_train=1, n_test=1, digest="u")
    root = ElementTree.fromstring(draw_trainings([row | {"dataset": s.name} for s in sets] * 70, [*sets, unused]))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    corners = [tuple(map(float, g.attrib["transform"][10:-1].split())) for g in root.findall(f"{_SVG}g")]
    assert len(set(corners)) == n and all(x + 200 <= width and y + 130 + 13 <= height for x, y in corners)
    legend = [float(text.attrib["x"]) for text in root.findall(f"{_SVG}text")]
    assert len(legend) == 3 and all(x + 60 <= width for x in legend)  # the longest word is "momentum"
    assert {len(g.findall(f"{_SVG}polyline")) for g in root.findall(f"{_SVG}g")} == {60}
