"""Entries of the board: what a submission holds, how one is made, and how it is checked again."""
