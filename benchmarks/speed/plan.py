"""How well ``nws plan`` knows the time of a training: shapes measured one by one, against the model fitted to a few of them.

    python -m benchmarks.speed.plan [--shapes 60] [--precision float32] [--json]

Takes about two seconds a shape on a free core. Prints the model's coefficients, fitted to all shapes (the ones to put into
REFERENCE of builders/estimate/speed.py), and how far the summed time of all shapes is from what calibrations with random
tens of them say, at their cost in the paper's population.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

import numpy as np

from builders.compute.compute_path import CPU_BACKENDS, PRECISIONS, default_cpu_backend, enter_compute_path
from builders.estimate.calibration import measure, sample_by_cost, write_images
from builders.estimate.speed import SCORE_TERMS, STEP_TERMS, Sample, coefficients, fit_speed, reference_speed
from builders.images.bank import ImageBank
from builders.plan.trainings import PlannedTraining, plan_trainings
from nws_data.space.hyperparameters import IMAGE_SETS

_CALIBRATION = 10  # shapes that twenty seconds are enough for
_ROUNDS = 200
_IMAGES = (36_000.0, 22_000.0)  # of an epoch and of its evaluation


def samples(n: int, precision: str, backend: str) -> list[Sample]:
    """Measure ``n`` trainings of the paper's random population, drawn in proportion to their cost."""
    enter_compute_path()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        bank = ImageBank.open(folder)
        typical = reference_speed(precision)

        def cost(planned: PlannedTraining) -> float:
            return typical.seconds(planned, *_IMAGES)

        chosen = sample_by_cost(list(plan_trainings("random", 2_000, 0, IMAGE_SETS)), cost, n)
        found = [measure(planned, bank, (precision, backend), 1.0) for planned in chosen]
    return [sample for sample in found if sample is not None]


def errors(found: list[Sample], precision: str) -> np.ndarray:
    """Return relative errors of the summed time of all shapes, fitted to random tens: ``(rounds,)``."""
    generator = random.Random(0)

    def share(sample: Sample) -> float:  # drawn by cost: each stands for as much time as the others
        return 1 / (sample.step_s * _IMAGES[0] + sample.score_s * _IMAGES[1])

    found_errors = []
    for _ in range(_ROUNDS):
        speed = fit_speed(generator.sample(found, min(_CALIBRATION, len(found))), precision, 0.0)
        ratios = [speed.seconds(sample.planned, *_IMAGES) * share(sample) for sample in found]
        found_errors.append(float(np.mean(ratios)) - 1)
    return np.array(found_errors)


def main() -> None:
    """Print coefficients and errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=60)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--backend", choices=CPU_BACKENDS, default=default_cpu_backend())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = samples(options.shapes, options.precision, options.backend)
    step, score = coefficients(found)
    error = errors(found, options.precision)
    result = {
        "n_shapes": len(found),
        "step_us": dict(zip(STEP_TERMS, [1e6 * c for c in step], strict=True)),
        "score_us": dict(zip(SCORE_TERMS, [1e6 * c for c in score], strict=True)),
        "scatter": fit_speed(found, options.precision, 0.0).scatter,
        "error_median": float(np.median(np.abs(error))),
        "error_95": float(np.quantile(np.abs(error), 0.95)),
    }
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for name in ("step_us", "score_us"):
        print(name, ", ".join(f"{term} {value:.2f}" for term, value in result[name].items()))  # type: ignore[attr-defined]
    print(
        f"{len(found)} shapes; one differs from the fit by {result['scatter']:.0%}; the sum, calibrated with "
        f"{_CALIBRATION}, by {result['error_median']:.1%} in the median, {result['error_95']:.1%} at most in 95 % of cases"
    )


if __name__ == "__main__":
    main()
