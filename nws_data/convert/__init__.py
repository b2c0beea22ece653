"""Datasets from datasets: import of the authors' release of 2020, subsets, merges, and what two of them differ in."""
