"""The compute path on a CUDA device: fleets whose whole step stays on the card. Everything here also runs on the CPU."""
