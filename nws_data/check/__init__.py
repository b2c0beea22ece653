"""Checking a dataset folder: every byte and every statement of its files."""
