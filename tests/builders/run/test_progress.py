"""The display of a build: what it prints without a terminal, and a time left that adds up."""

from __future__ import annotations

import time

import pytest

from builders.plan.shape import training_flop
from builders.run.messages import Finished, Progress
from builders.run.progress import BuildProgress, _clock
from nws_data.space.architecture import Architecture
from tests.builders.conftest import planned

FLOP = training_flop(Architecture.of(planned(0).hyperparameters))


def work(trainings) -> dict[str, float]:
    """Operations of an epoch of 100 images."""
    return {p.id: 100.0 * training_flop(Architecture.of(p.hyperparameters)) for p in trainings}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def epochs(n: float, job: str = "") -> Progress:
    """The message of n epochs of one training."""
    n_images = round(100 * n)
    return Progress(n_images, float(n_images) * FLOP, job)


def last_line(capsys) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_without_a_terminal(capsys, clock):
    with BuildProgress("fixed", work([planned(i) for i in range(4)]), 6, 19) as progress:
        progress.report(epochs(0))
        clock[0] += 10
        progress.report(epochs(38))
        progress.report(Finished("random-000000", 19))
    # 38 of 4 x 19 epochs in 10 s: 3,800 images, and as long again.
    assert last_line(capsys) == "fixed: 7/10 trainings, 0:10 left, 380 images x models/s"
    assert progress.n_images == 3800


def test_a_line_every_half_minute(capsys, clock):
    with BuildProgress("fixed", work([planned(0)]), 0, 19) as progress:
        progress.report(epochs(0))
        for _ in range(100):
            clock[0] += 1
            progress.report(epochs(0.1))
        lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("fixed: 0/1 trainings") and line.endswith("left, 10 images x models/s") for line in lines)


def test_before_any_message(capsys, clock):
    with BuildProgress("random", work([planned(0)]), 0, 19):
        pass
    assert "0/1 trainings" in last_line(capsys)


def test_the_time_that_workers_take_to_start_does_not_count(capsys, clock):
    with BuildProgress("random", work([planned(i) for i in range(4)]), 0, 19) as progress:
        clock[0] += 100
        progress.report(epochs(1))
        clock[0] += 10
        progress.report(epochs(10))
        assert progress._speed() == "1:05 left, 100 images x models/s"


def test_no_speed_without_time_or_work(capsys, clock):
    with BuildProgress("random", work([planned(0)]), 0, 19) as progress:
        progress.report(epochs(0))
        progress.report(epochs(1))
    assert last_line(capsys).endswith("starting")


def test_time_left_follows_the_epochs_that_trainings_really_take(capsys, clock):
    with BuildProgress("random", work([planned(i) for i in range(2)]), 0, 1000) as progress:
        progress.report(epochs(0))
        clock[0] += 10
        progress.report(epochs(20))
        # A guess of 60 epochs each: 100 of 120 are left, at two a second.
        assert progress._speed().startswith("0:50 left")
        progress.report(Finished("random-000000", 20))
        # It took 20: 20 of 40 are left.
        assert progress._speed().startswith("0:10 left")
        clock[0] += 10
        progress.report(epochs(30))
        # The second has taken 30 epochs, longer than the mean: a quarter of that is to come, 5 epochs at 2.5 a second.
        assert progress._speed().startswith("0:02 left")
        progress.report(Finished("random-000001", 30))
        assert progress._speed().startswith("0:00 left")


def test_with_the_smallest_cap_all_trainings_take_as_many_epochs(capsys, clock):
    with BuildProgress("random", work([planned(i) for i in range(2)]), 0, 19) as progress:
        progress.report(epochs(0))
        clock[0] += 10
        progress.report(epochs(37))
        # No quarter on top: one epoch is left at 3.7 a second.
        assert progress._flop_left() == pytest.approx(100 * FLOP)


def test_a_training_counts_once_and_leaves_nothing_under_way(capsys, clock):
    with BuildProgress("random", work([planned(i) for i in range(2)]), 0, 19) as progress:
        progress.report(epochs(0))
        clock[0] += 10
        progress.report(epochs(20, "random-000000"))  # a little more than is counted for an epoch
        progress.report(epochs(10, "random-000001"))
        progress.report(Finished("random-000000", 19, "random-000000"))
        assert progress._flop_left() == pytest.approx(9 * 100 * FLOP)
        progress.report(Finished("random-000000", 19, "random-000000"))  # a lost job, run again, finds it staged
        progress.report(epochs(9, "random-000001"))
        progress.report(Finished("random-000001", 19, "random-000001"))
        assert progress._flop_left() == 0
    assert "2/2 trainings" in last_line(capsys)
    assert progress._epochs == [19, 19]
    assert progress.n_images == 3900


def test_a_notice_is_a_line_of_its_own(capsys, clock):
    with BuildProgress("random", work([planned(0)]), 0, 19) as progress:
        progress.report("a worker died")
        assert capsys.readouterr().err == "random: a worker died\n"


def test_speed_is_that_of_the_last_minute(capsys, clock):
    with BuildProgress("random", work([planned(i) for i in range(100)]), 0, 1000) as progress:
        progress.report(epochs(0))
        for n in (1, 1, 1, 1, 10, 10):
            clock[0] += 30
            progress.report(epochs(n))
        # 20 epochs, 2,000 images, in 60 s; 6,000 - 24 epochs are left at 3 s each.
        assert progress._speed() == "4:58:48 left, 33 images x models/s"


def test_costlier_networks_count_for_more(capsys, clock):
    large = planned(1, width_conv=48, filter_size=7, width_fc=192)
    with BuildProgress("random", work([planned(0), large]), 0, 19) as progress:
        progress.report(epochs(0))
        clock[0] += 10
        progress.report(epochs(19))
        ratio = training_flop(Architecture.of(large.hyperparameters)) / FLOP
        assert ratio > 10
        assert progress._speed().startswith(f"{_clock(10 * ratio)} left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0:00"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (172_799, "47:59:59"),
        (172_800, "2 d 0 h"),
        (1e6, "11 d 13 h"),
    ],
)
def test_clock(seconds, text):
    assert _clock(seconds) == text
