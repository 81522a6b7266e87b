"""The model: a shared encoder, a decoder, experts, heads for the decision tree, and an anomaly score.

Backend-free Keras 3: nothing here imports TensorFlow.
"""

from morph.console import import_quietly

import_quietly("keras")
