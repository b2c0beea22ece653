"""Checks of a method on a small dataset that is made on the spot: what it gets wrong, without data."""
