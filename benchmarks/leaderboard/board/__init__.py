"""The board: standings of all results as Markdown and as one HTML page."""
