"""How many pixels a convolution of few channels should take together on this processor: the table PIXELS, measured.

    python -m benchmarks.speed.convolution [--precision float32 bfloat16] [--json]

Forward and both gradients of every conv layer of up to 24 channels out, in batches of 64, one thread; microseconds an
image, the second best of fifteen calls. The star is what builders/compute/native/convolution.py uses.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from builders.compute.compute_path import PRECISIONS, enter_compute_path
from builders.compute.native.convolution import PIXELS, Convolution
from builders.plan.fleet_shape import DTYPES
from nws_data.space.architecture import IMAGE_SHAPE, Layer, all_architectures

BATCH = 64
CALLS = 15
CHOICES = (1, 2, 4)
LARGEST = 24


def layers() -> list[tuple[Layer, int]]:
    """Return every kind of conv layer of few channels, with the side of its input."""
    found = {}
    for architecture in all_architectures():
        side = IMAGE_SHAPE[1]
        for layer in architecture.layers:
            if layer.is_conv and layer.n_out <= LARGEST:
                found[layer["kernel"].shape, side] = (layer, side)
            side //= 2 if layer.pool_after else 1
    return list(found.values())


def microseconds(layer: Layer, side: int, pixels: int, dtype: torch.dtype) -> float:
    """Return the time of an image, forward and backward."""
    convolution = Convolution(layer, dtype, pixels)
    x = torch.randn(BATCH, side, side, layer.n_in).to(dtype)
    kernel, bias = torch.randn(layer["kernel"].shape), torch.zeros(layer.n_out)
    dkernel, times = torch.empty_like(kernel), []
    dz = torch.randn(BATCH, side, side, layer.n_out).to(dtype)
    for _ in range(CALLS):
        started = time.perf_counter()
        convolution.forward(x, kernel, bias)
        convolution.backward(x, dz, dkernel, needs_dx=layer.n_in != IMAGE_SHAPE[0])
        times.append(time.perf_counter() - started)
    return sorted(times)[1] / BATCH * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    enter_compute_path()
    rows = []
    for precision in options.precision:
        for layer, side in layers():
            n_out, n_in, f, _ = layer["kernel"].shape
            times = {pixels: microseconds(layer, side, pixels, DTYPES[precision]) for pixels in CHOICES}
            used = PIXELS.get((f, n_in, n_out), 1)
            rows.append(
                {"precision": precision, "filter": f, "in": n_in, "out": n_out, "side": side, "used": used, "us": times}
            )
            if not options.json:
                shown = "  ".join(f"{n}: {us:6.1f}{'*' if n == used else ' '}" for n, us in times.items())
                print(f"{precision:9} {f}x{f} {n_in:2} -> {n_out:2} at {side:2}   {shown}", flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
