"""The dataset folder as FORMAT.md describes it: written, checked, summed up."""
