"""What clients and servers exchange: TensorFlow Serving's messages and configurations, and the names of outputs."""

#: The outputs of the exported model in the order in which people read them.
OUTPUTS = (
    "probabilities",
    "tree_probabilities",
    "concentration",
    "embedding",
    "similarity",
    "reconstruction_error",
    "anomaly_score",
    "anomaly",
)
