"""Figures of what a dataset shows."""
