"""The conv block of a device fleet as Triton kernels."""
