"""Reference methods for the official tasks; none has landed yet."""
