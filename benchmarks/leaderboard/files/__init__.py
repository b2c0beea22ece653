"""Result files: what a run leaves, checked and computed again."""
