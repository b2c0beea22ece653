"""The neural weight space dataset: open it, read it, check it, write it."""
