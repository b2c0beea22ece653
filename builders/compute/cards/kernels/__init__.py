"""Triton's kernels of a training step, and what they share.

Every kernel is launched for all slots of a fleet and returns at once where the slot is idle. No program sees two slots, and
the order of every sum follows from the shape of one training: its bits depend neither on its companions nor on its slot.

Integers that no alignment follows from are not specialised: one compiled kernel serves all layers of a shape.
"""
