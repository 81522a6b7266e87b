"""The embedded server's parts: TensorFlow Serving's twin in Python."""
