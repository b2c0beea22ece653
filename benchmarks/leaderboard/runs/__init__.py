"""Runs of methods on tasks."""
