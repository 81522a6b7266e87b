"""The statistics of batch normalisation, measured anew for the weights that are kept.

The weights that are kept are an average over many steps, and no step was taken with them: the running statistics that
were gathered on the way belong to other weights. Measured again on the training galaxies, they fit (Izmailov et al.
2018, section 3.2). The median over batches is taken, not the mean: one stamp with a bright star multiplies the
variance of its batch, and every other batch was normalised without it.
"""

from collections.abc import Iterable

import keras
import numpy as np

#: Batches that the statistics are measured on.
BATCHES = 100


def settle(training: keras.Model, batches: Iterable, parts: Iterable[keras.Model]) -> int:
    """Give every batch normalisation in `parts` its median statistics over batches, with the weights as they are.

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
    found: list[list[np.ndarray]] = []
    for layer in layers:
        # What is kept is then that of the last batch alone.
        layer.momentum = 0.0
    for given, _ in batches if layers else ():
        training(given, training=True)
        moving = [value for layer in layers for value in (layer.moving_mean, layer.moving_variance)]
        # Copies: the next batch is written over them.
        found.append([np.array(keras.ops.convert_to_numpy(value)) for value in moving])
    medians = [np.median(values, axis=0) for values in zip(*found, strict=True)]
    for number, (layer, momentum) in enumerate(zip(layers, momenta, strict=True)):
        layer.momentum = momentum
        if medians:
            layer.moving_mean.assign(medians[2 * number])
            layer.moving_variance.assign(medians[2 * number + 1])
    return len(layers)
