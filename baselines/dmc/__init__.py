"""The deep meta-classifier (DMC): a 1D CNN on raw weights."""
