"""One network at a time on the CPU: oneDNN's convolutions, and kernels in C for all that lies between them."""
