"""What a model says of a galaxy: the names of the exported model's outputs, for those who ask and those who keep."""

#: The outputs of the contract in the order in which people read them.
OUTPUTS = (
    "probabilities",
    "tree_probabilities",
    "concentration",
    "embedding",
    "reconstruction_error",
    "anomaly_score",
    "anomaly",
)
