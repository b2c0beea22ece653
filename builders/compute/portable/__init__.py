"""Fleets in PyTorch alone: several networks of one shape side by side, where there is no C compiler."""
