"""Optimisation: learning rates by layer, frozen parts, and refreshed statistics of batch normalisation."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from morph.model.classifier import Classifier
from morph.model.fitted import Fitted
from training.fitting.checkpoint import BestEpoch, Checkpoint, Finite

#: Batches that the statistics of batch normalisation are measured on.
BATCHES = 100


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW in which each variable has its own share of the learning rate (Howard & Ruder 2018).

    The first layers see edges and blobs, which are the same in every survey; the last ones see what the new labels
    are about.

    Parameters
    ----------
    shares : one a trainable variable, in the model's order.
    """

    def __init__(self, *arguments, shares: Sequence[float], **options):
        super().__init__(*arguments, **options)
        self.shares = list(shares)

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.shares[self._get_variable_index(variable)])


def falling_shares(model: keras.Model, encoder: keras.Model, decay: float) -> list[float]:
    """Shares of the learning rate that fall from the encoder's last layer to its first.

    Parameters
    ----------
    model : contains the encoder; its other variables have the full rate.
    encoder : of the model.
    decay : the share of each layer with weights, relative to that of the next.

    Returns
    -------
    One share for each trainable variable, in the model's order.
    """
    layers = [layer for layer in encoder.layers if layer.trainable_weights]
    shares = {
        id(variable): decay ** (len(layers) - 1 - depth)
        for depth, layer in enumerate(layers)
        for variable in layer.trainable_weights
    }
    return [shares.get(id(variable), 1.0) for variable in model.trainable_weights]


def refresh_batch_statistics(training: keras.Model, batches: Iterable, parts: Iterable[keras.Model]) -> int:
    """Measure the statistics of every batch normalisation in `parts` anew, with the weights as they are.

    The weights that are kept are an average over many steps, and the running statistics belong to other weights
    (Izmailov et al. 2018, section 3.2). The median over batches is taken, not the mean: one stamp with a bright star
    multiplies the variance of its batch.

    Parameters
    ----------
    training : the model being trained, called on each batch as in training.
    batches : pairs of its inputs and targets.
    parts : models whose normalisations are set; frozen ones keep their statistics.

    Returns
    -------
    How many normalisations were set.
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


def freeze(classifier: Classifier, what: str) -> None:
    """Hold part of the network still: "nothing", "statistics" or "encoder" (see `Recipe.freeze`)."""
    for part, still in ((classifier.encoder, what == "encoder"), (classifier.decoder, False)):
        part.trainable = not still
        # Layers are set one by one: the part's own setting does not reach those that were set before.
        for layer in part.layers:
            # With a few hundred galaxies, batch statistics are noisier than the pretrained ones are wrong.
            statistics = what != "nothing" and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = not (still or statistics)


class MeanLoss(keras.Model):
    """A model whose output is the loss of each galaxy."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


def fit_part(
    part: Fitted,
    loss: MeanLoss,
    batches: keras.utils.PyDataset,
    held_out: dict[str, np.ndarray],
    epochs: int,
    patience: int,
    rate: float,
    weight_decay: float,
    checkpoint: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[float]:
    """Fit a part of a classifier, and keep the epoch that is best on held-out galaxies.

    Parameters
    ----------
    part : fitted in place.
    loss : contains the part.
    batches : of the loss's inputs; those of an epoch follow from its `epoch`.
    held_out : inputs of held-out galaxies.
    epochs, patience : the most epochs, and how many without a gain end the fit.
    rate, weight_decay : AdamW's, the rate falling as a cosine.
    checkpoint : a folder; a fit that finds its own unfinished state there goes on from it. It has no patience.
    callbacks : more of Keras's, such as one that reports.

    Returns
    -------
    The loss of the held-out galaxies after each epoch.

    Raises
    ------
    InputError : a loss is not finite.
    """
    part.trainable = True
    _compile(loss, keras.optimizers.schedules.CosineDecay(rate, epochs * len(batches), alpha=0.01), weight_decay)
    best = None if checkpoint is None else BestEpoch(checkpoint)
    state = [] if checkpoint is None else [Checkpoint(checkpoint, len(batches))]
    done = batches.epoch = state[0].restore(loss) if state else 0
    if best is not None:
        best.restore(done)
    history = loss.fit(
        batches,
        epochs=epochs,
        initial_epoch=done,
        # Keras asks for targets; the loss needs none.
        validation_data=(held_out, next(iter(held_out.values()))),
        validation_batch_size=512,
        callbacks=[
            Finite(remedy=""),
            best or keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True),
            *state,
            *callbacks,
        ],
        verbose=0,
    ).history
    part.trainable = False
    losses = history.get("val_loss", []) if best is None else best.losses
    if best is not None:
        loss.load_weights(best.best)
    return [float(value) for value in losses]


def _compile(loss: MeanLoss, schedule: keras.optimizers.schedules.LearningRateSchedule, weight_decay: float) -> None:
    loss.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=weight_decay, clipnorm=1.0),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
