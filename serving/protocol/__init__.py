"""What clients and servers say to each other: TensorFlow Serving's messages and the names of outputs."""
