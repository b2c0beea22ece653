"""What the bytes of a dataset folder mean (FORMAT.md). Files are hostile until checked."""
