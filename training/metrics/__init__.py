"""Figures of agreement, each with its interval: pure NumPy."""
