"""How two plans are compared for people."""

from nws_data.format.plan import plan_differences

PLAN = {"build_seed": 0, "image_sets": [["mnist", "aa"], ["cifar10", "bb"]], "epoch_cap": 40}


def test_equal_plans():
    assert plan_differences(PLAN, dict(PLAN)) == []


def test_every_difference_is_named():
    assert plan_differences(PLAN, PLAN | {"build_seed": 1, "epoch_cap": 50}) == [
        "build_seed was 0, now 1",
        "epoch_cap was 40, now 50",
    ]
    assert plan_differences(PLAN, PLAN | {"precision": "bfloat16"}) == ["precision was None, now 'bfloat16'"]


def test_image_sets_are_named_not_shown_as_digests():
    others = [["mnist", "aa"], ["cifar10", "cc"]]
    assert plan_differences(PLAN, PLAN | {"image_sets": others}) == [
        "the images of cifar10 are others (another file, --train-images or --test-images?)"
    ]
    assert plan_differences(PLAN, PLAN | {"image_sets": PLAN["image_sets"][::-1]}) == [
        "the image sets were mnist, cifar10, now cifar10, mnist (their order counts)"
    ]
    assert plan_differences(PLAN, PLAN | {"image_sets": {"mnist": 3}, "build_seed": 0})[0].startswith(
        "the image sets were mnist"
    )
    assert plan_differences({"image_sets": 5}, {"image_sets": []}) == ["image_sets was 5, now []"]
