"""The statistics of batch normalisation, measured anew for the weights that are kept.

The weights that are kept are an average over many steps, and no step was taken with them: the running statistics that
were gathered on the way belong to other weights. Measured again on the training galaxies, they fit (Izmailov et al.
2018, section 3.2).
"""

from collections.abc import Iterable

import keras

#: Batches that the statistics are averaged over.
BATCHES = 100


def settle(training: keras.Model, batches: Iterable, parts: Iterable[keras.Model]) -> int:
    """Average the statistics of every batch normalisation in `parts` over batches, with the weights as they are.

    Parameters
    ----------
    training : the model being trained, called on each batch as in training, so that it sees what it was trained on.
    batches : of what it takes and what it should answer.
    parts : models whose normalisations are to be set; those that are frozen keep what they have.

    Returns how many normalisations were set.
    """
    layers = [
        layer
        for part in parts
        for layer in part.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in layers]
    for number, (given, _) in enumerate(batches if layers else ()):
        for layer in layers:
            # The mean of all batches so far: the first one replaces what was there.
            layer.momentum = number / (number + 1)
        training(given, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return len(layers)
