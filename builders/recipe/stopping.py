"""Early stopping on the validation accuracy.

Source: Eilertsen et al. 2020, Supplement A.2; tie rules from the authors' scripts.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_EVALUATIONS = 20
MIN_EPOCH_CAP = MIN_EVALUATIONS - 1
MAX_EPOCHS = 1000
"""The original's bound on epochs."""

_FALLING = 5
_BELOW_AVERAGE = 30
_STATIONARY = 30
_TOLERANCE = 1e-8
_SMOOTHING = 0.5


@dataclass
class EarlyStopping:
    """Watches the evaluations of one training, the first of which precedes any training step.

    From the second evaluation on it counts: falls of v (a rise sets the count to 0, an equal value leaves it);
    evaluations below the smoothed value (the current v included; never reset); consecutive changes under 1e-8.
    From the 20th evaluation on it stops at 5, 30 or 30 of them; the cap on epochs stops in any case.
    """

    epoch_cap: int = MAX_EPOCHS
    evaluations: int = 0
    falling: int = 0
    below_average: int = 0
    stationary: int = 0
    _last: float = 0.0
    _average: float = 0.0

    def update(self, v: float) -> str | None:
        """Take the next validation accuracy; return the reason to stop, or None to go on."""
        self.evaluations += 1
        if self.evaluations == 1:
            self._average = self._last = v
            return None
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * v
        if v < self._last:
            self.falling += 1
        elif v > self._last:
            self.falling = 0
        self.below_average += v < self._average
        self.stationary = self.stationary + 1 if abs(v - self._last) < _TOLERANCE else 0
        self._last = v
        if self.evaluations >= MIN_EVALUATIONS:
            if self.falling >= _FALLING:
                return "falling"
            if self.below_average >= _BELOW_AVERAGE:
                return "below_average"
            if self.stationary >= _STATIONARY:
                return "stationary"
        return "cap" if self.evaluations > self.epoch_cap else None
