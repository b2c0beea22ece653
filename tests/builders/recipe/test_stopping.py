"""Early stopping on sequences worked by hand from Supplement A.2: which evaluation stops, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builders.recipe.stopping import MAX_EPOCHS, MIN_EPOCH_CAP, MIN_EVALUATIONS, EarlyStopping

RISING = [k / 100 for k in range(1, 21)]  # 20 evaluations, none of which counts for A, B or C


def run(values: Sequence[float], epoch_cap: int = MAX_EPOCHS) -> tuple[int, str | None]:
    """Feed values until one stops; return its number (from 1) and the reason, or the last one's and None."""
    stopping = EarlyStopping(epoch_cap)
    for number, v in enumerate(values, 1):
        reason = stopping.update(v)
        if reason is not None:
            return number, reason
    return len(values), None


def counts(values: Sequence[float], name: str) -> list[int]:
    """Return a counter after every evaluation."""
    stopping, seen = EarlyStopping(), []
    for v in values:
        stopping.update(v)
        seen.append(getattr(stopping, name))
    return seen


def falling_by(n: int, start: float) -> list[float]:
    """n values, each 0.001 under the one before, the first 0.001 under ``start``."""
    return [start - 0.001 * k for k in range(1, n + 1)]


def test_limits():
    assert (MIN_EVALUATIONS, MIN_EPOCH_CAP, MAX_EPOCHS) == (20, 19, 1000)


def test_nothing_stops_before_the_20th_evaluation():
    # Falling from the first evaluation on: five falls are counted at the 6th, but only the 20th stops.
    assert run(falling_by(30, 0.9)) == (20, "falling")
    assert run(falling_by(19, 0.9)) == (19, None)


def test_falling_a_rise_resets():
    # 4 falls, a rise (count 0), 5 falls: evaluation 20 + 4 + 1 + 5.
    values = [*RISING, *falling_by(4, 0.20), 0.5, *falling_by(9, 0.5)]
    assert run(values) == (30, "falling")
    assert counts(values[:27], "falling")[19:] == [0, 1, 2, 3, 4, 0, 1, 2]


def test_falling_an_equal_value_does_not_reset():
    # 2 falls, 3 equal values, 3 falls: evaluation 20 + 2 + 3 + 3.
    values = [*RISING, 0.19, 0.18, 0.18, 0.18, 0.18, 0.17, 0.16, 0.15, 0.14]
    assert run(values) == (28, "falling")
    assert counts(values[:28], "falling")[19:] == [0, 1, 2, 2, 2, 2, 3, 4, 5]


def test_falling_counts_falls_before_the_20th():
    # The 16th to 20th evaluations fall: five at the 20th.
    assert run([*RISING[:15], *falling_by(5, 0.15)]) == (20, "falling")
    # The 17th to 20th fall: four at the 20th, the fifth is the 21st.
    assert run([*RISING[:16], *falling_by(5, 0.16)]) == (21, "falling")


def test_falling_a_rise_at_the_20th_saves():
    # 18 falls up to the 19th, then a rise at the 20th sets the count to 0; five falls later it stops.
    values = [*falling_by(19, 0.9), 0.95, *falling_by(9, 0.95)]
    assert run(values) == (25, "falling")


def test_the_smoothed_value_and_the_evaluations_below_it():
    # v~:          0.5  0.625  0.625     0.59375  0.59375   0.546875
    # v < v~:           no     no, equal yes      no, equal yes
    assert counts([0.5, 0.75, 0.625, 0.5625, 0.59375, 0.5], "below_average") == [0, 0, 0, 1, 1, 2]


def test_the_smoothed_value_starts_at_the_first_evaluation():
    # From 0.5: v~ = 0.375, so 0.25 lies below. Had it started at 0, v~ would be 0.25 and 0.25 not below.
    assert counts([0.5, 0.25], "below_average") == [0, 1]


def test_the_smoothed_value_forgets_by_halves():
    # v~: 0, 0.5, 0.25, 0.25. A mean of all four (0.3125) would count the last one.
    assert counts([0.0, 1.0, 0.0, 0.25], "below_average") == [0, 0, 1, 1]


def test_below_average_is_never_reset():
    # 1, 0, 1, 0, ...: the 2nd, 4th, ... evaluation lie below, so the 60th is the 30th of them.
    # A is 1 at most, since every fall is followed by a rise; C is 0.
    values = [1.0, 0.0] * 40
    assert counts(values[:6], "below_average") == [0, 1, 1, 2, 2, 3]
    assert run(values) == (60, "below_average")


def test_below_average_goes_on_over_a_long_rise():
    # 15 evaluations below among the first 30; 25 rising ones, all above v~, which starts under 0.4; then 15 more among
    # 1, 0, 1, 0, ...: evaluation 30 + 25 + 2 * 15.
    values = [1.0, 0.0] * 15 + [0.5 + 0.01 * k for k in range(1, 26)] + [1.0, 0.0] * 20
    assert counts(values[:56], "below_average")[29:] == [15] * 27
    assert run(values) == (85, "below_average")


def test_stationary():
    # 29 unchanged values after the first give 29 at the 30th, 30 at the 31st evaluation.
    assert run([0.5] * 40) == (31, "stationary")
    assert counts([0.5] * 31, "below_average")[-1] == 0
    assert counts([0.5] * 31, "falling")[-1] == 0


def test_stationary_any_change_resets():
    # 19 unchanged values at the 20th evaluation; the 21st differs; 30 more unchanged: the 51st.
    assert run([0.5] * 20 + [0.6] * 40) == (51, "stationary")


def test_stationary_means_changes_under_a_hundred_millionth():
    # Changes of 0.9e-8: all 30 count, and the 31st evaluation stops (15 of them lie below v~).
    assert run([0.5, 0.5 + 0.9e-8] * 20) == (31, "stationary")
    # Changes of 2e-8 are changes: the 3rd, 5th, ... evaluation lie below v~, so the 61st is the 30th of them.
    assert run([0.5, 0.5 + 2e-8] * 40) == (61, "below_average")


def test_the_first_evaluation_counts_for_nothing():
    stopping = EarlyStopping()
    stopping.update(0.0)
    assert (stopping.falling, stopping.below_average, stopping.stationary) == (0, 0, 0)


@pytest.mark.parametrize("cap", [19, 20, 100])
def test_a_cap_of_n_epochs_is_n_plus_1_evaluations(cap):
    assert run([k / 2000 for k in range(1500)], cap) == (cap + 1, "cap")


def test_the_default_cap():
    assert run([k / 2000 for k in range(1500)]) == (1001, "cap")


def test_a_criterion_is_named_before_the_cap():
    assert run(falling_by(30, 0.9), 19) == (20, "falling")
    assert run([0.5] * 31, 30) == (31, "stationary")
