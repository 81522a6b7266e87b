"""What a galaxy image is, and the model that reads it."""

__version__ = "0.1.0"
