"""The base class of methods."""

from __future__ import annotations

import pytest

from baselines.method import Method
from nws_data.errors import ArgumentError, NWSError


class Nothing(Method):
    def fit(self, task):
        self.n_parameters = 0

    def predict(self, view):
        return view.labels.numpy()


def test_a_method_keeps_its_seed_and_has_no_parameters_before_fitting():
    method = Nothing(3)
    assert method.seed == 3 and method.n_parameters is None
    assert Nothing().seed == 0


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ArgumentError, match="seed must be at least 0, got") as caught:
        Nothing(seed)
    assert isinstance(caught.value, NWSError)


def test_both_steps_are_needed():
    class Half(Method):
        def fit(self, task):
            pass

    with pytest.raises(TypeError, match="predict"):
        Half()
