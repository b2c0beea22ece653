"""Official tasks: what to predict from which weights, and how predictions are scored."""
