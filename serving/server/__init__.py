"""The embedded server, and TensorFlow Serving's own program."""
