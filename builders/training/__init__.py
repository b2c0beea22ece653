"""Training many networks as one program, each as if it were alone."""
