"""The reference population: what official results are made on, from a committed plan to the committed pages."""
