"""Arguments that several functions take."""

from typing import Any

import numpy as np
import pytest

from nws_data.arguments import whole_number
from nws_data.errors import ArgumentError


@pytest.mark.parametrize(
    ("value", "high", "message"),
    [
        (-1, 2**63, "seed must be in [0, 2^63), got -1"),
        (2**63, 2**63, f"seed must be in [0, 2^63), got {2**63}"),
        (-1, None, "seed must be at least 0, got -1"),
        (True, 2**32, "seed must be in [0, 2^32), got True: give a whole number"),
        (1.0, None, "seed must be at least 0, got 1.0: give a whole number"),
    ],
)
def test_whole_numbers(value: Any, high: int | None, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        whole_number("seed", value, 0, high)
    assert str(error.value) == message
    assert whole_number("seed", np.uint8(5), 0, high) == 5
