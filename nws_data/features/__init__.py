"""Statistics features of weights: fast, the same bits in any batch, cached beside the dataset."""
