"""Writing a dataset folder: the one writer that builders use; complete files or none, one process at a time."""
