"""Reference methods for the official tasks: one interface, and a registry of names."""
