"""Image sets: where they come from, the bank that workers share."""
