"""Datasets on the Hugging Face hub."""
