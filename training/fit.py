"""Training: the loss, the loop, and what happens at its end.

The loss of a galaxy is the Dirichlet-multinomial likelihood of its votes plus the evidence lower bound of its image,
so that unlabelled galaxies teach the encoder too.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops

from morph.galaxies import Galaxies
from morph.model.classifier import Classifier
from morph.model.votes import log_likelihood
from training.augment import Disturb, Strength, Turn
from training.batches import Batches, linear, mostly_artifact
from training.calibrate import calibrate
from training.layerwise import LayerwiseAdamW, falling_shares
from training.normal import learn_normal
from training.shift import remember

#: Independent pixels of a stamp: the noise of resampled images is correlated over about five pixels.
INDEPENDENT_PIXELS = 600.0


@dataclass(frozen=True)
class Recipe:
    """How to train; everything that a run's record must hold.

    Attributes
    ----------
    epochs, batch_size, seed : as usual.
    learning_rate : its peak; it warms up over one epoch and falls as a cosine.
    weight_decay : AdamW's.
    elbo : weight of the image's evidence lower bound against the votes' likelihood; at 1/384 the
        image's part is somewhat smaller than the votes' once the decoder has learned to draw.
    beta : weight of the Kullback-Leibler term inside the bound.
    balance : how much more often rare answers are drawn (see `training.batches.rarity`).
    freeze : which part keeps its weights: "nothing", "statistics" (batch normalisation only) or "encoder".
    layer_decay : the learning rate of each layer of the encoder as a share of that of the layer after it.
    augment : how strongly to vary the images.
    """

    epochs: int = 30
    batch_size: int = 64
    seed: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    elbo: float = 1 / 384
    beta: float = 1.0
    balance: float = 0.5
    freeze: str = "nothing"
    layer_decay: float = 1.0
    steps: int | None = None
    augment: Strength = field(default_factory=Strength)

    def parameters(self) -> dict[str, float | int | str | None]:
        """Flat, for a run's record."""
        flat = {name: value for name, value in asdict(self).items() if name != "augment"}
        return {**flat, **{f"augment_{name}": value for name, value in asdict(self.augment).items()}}


#: Adapting a model: gentler everywhere, and the pretrained statistics kept.
FINETUNING = Recipe(learning_rate=5e-4, batch_size=32, freeze="statistics", balance=0.3)


class Training(keras.Model):
    """A classifier being trained: augmentation, forward pass and loss in one Keras model."""

    def __init__(self, classifier: Classifier, recipe: Recipe, **options):
        super().__init__(**options)
        self.classifier, self.recipe = classifier, recipe
        self.turn = Turn(classifier.size, recipe.augment, seed=recipe.seed)
        self.disturb = Disturb(recipe.augment, seed=recipe.seed + 1)
        self.generator = keras.random.SeedGenerator(recipe.seed + 2)
        names = ("votes", "reconstruction", "divergence")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    def build(self, input_shape=None):
        """The classifier is built already; the rest has no weights."""

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers.values()]

    def call(self, image, training=False):
        classifier = self.classifier
        way_in = self.disturb(classifier.normalise(self.turn(image, training=training)), training=training)
        encoded = classifier.encoder(way_in["image"], training=training)
        mean, log_variance = encoded["mean"], ops.clip(encoded["log_variance"], -10.0, 4.0)
        z = mean
        if training:
            z = mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.generator)
        concentration = classifier.heads([encoded["features"], mean], training=training)
        drawn = classifier.decoder(z, training=training)
        error = classifier.reconstruction_error({**way_in, "image": way_in["clean"]}, drawn)
        divergence = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1)
        return {"concentration": concentration, "error": error, "divergence": divergence}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        likelihood = ops.sum(log_likelihood(y_pred["concentration"], y), axis=-1)
        # What is no galaxy must not teach the decoder to draw it: the anomaly score lives on that failure.
        galaxy = 1.0 - ops.cast(mostly_artifact(y), "float32")
        # The error of a failed fit grows with the square; its logarithm beyond ten keeps one stamp with a
        # bright star from steering the step.
        error = y_pred["error"]
        error = ops.where(error > 10.0, 10.0 * (1.0 + ops.log(ops.maximum(error, 10.0) / 10.0)), error)
        bound = 0.5 * INDEPENDENT_PIXELS * error + self.recipe.beta * y_pred["divergence"]
        self.trackers["votes"].update_state(-likelihood)
        self.trackers["reconstruction"].update_state(y_pred["error"])
        self.trackers["divergence"].update_state(y_pred["divergence"])
        return ops.mean(-likelihood + self.recipe.elbo * galaxy * bound)


class _Epochs(keras.callbacks.Callback):
    """Tells the batches which epoch it is, and the caller how it went."""

    def __init__(self, batches: Batches, report: Callable[[int, dict[str, float]], None] | None):
        super().__init__()
        self.batches, self.report = batches, report

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.begin_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if self.report:
            self.report(epoch, {name: float(value) for name, value in (logs or {}).items()})


def fit(
    classifier: Classifier,
    sets: Sequence[tuple[Galaxies, float]],
    validation: Galaxies | None,
    recipe: Recipe,
    checkpoint: Path | None = None,
    report: Callable[[int, dict[str, float]], None] | None = None,
    held_out: Sequence[Galaxies] = (),
) -> dict[str, list[float]]:
    """Train `classifier` in place.

    Parameters
    ----------
    sets : training sets and the share of every batch that each contributes.
    validation : galaxies to watch, and on which to learn what is normal for the anomaly score and how to calibrate.
    held_out : where these are of both kinds of image, all of them, so that the anomaly score knows both; by default
        `validation`.
    checkpoint : a folder; a run that finds its own unfinished state there goes on from it, and the folder is
        removed when the run is finished.
    report : called after every epoch with the epoch and its figures.

    Returns
    -------
    The history: every figure, one value an epoch.
    """
    keras.utils.set_random_seed(recipe.seed)
    batches = Batches(list(sets), recipe.batch_size, seed=recipe.seed, steps=recipe.steps, balance=recipe.balance)
    freeze(classifier, recipe.freeze)
    training = Training(classifier, recipe)
    total = recipe.epochs * len(batches)
    warm_up = min(len(batches), total // 10 + 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate * 0.05,
        max(total - warm_up, 1),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    training.compile(
        optimizer=LayerwiseAdamW(
            schedule,
            shares=falling_shares(training, classifier.encoder, recipe.layer_decay),
            weight_decay=recipe.weight_decay,
            clipnorm=1.0,
            use_ema=True,
            ema_momentum=0.99,
        ),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    callbacks: list[keras.callbacks.Callback] = []
    if checkpoint is not None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        callbacks.append(keras.callbacks.BackupAndRestore(str(checkpoint), double_checkpoint=True))
    # After the backup, which must hold the weights that training goes on with and not their average.
    callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks.append(_Epochs(batches, report))
    watched = None if validation is None else (linear(validation.images), np.nan_to_num(validation.votes))
    history = training.fit(
        batches,
        epochs=recipe.epochs,
        validation_data=watched,
        validation_batch_size=128,
        callbacks=callbacks,
        verbose=0,
    )
    freeze(classifier, "nothing")
    if validation is not None:
        learn_normal(classifier, held_out or validation, [galaxies for galaxies, _ in sets])
        calibrate(classifier, validation)
    # Without held-out galaxies too: what was remembered before was said in another embedding.
    remember(classifier, *([] if validation is None else [validation]))
    return {name: [float(v) for v in values] for name, values in history.history.items()}


def freeze(classifier: Classifier, what: str) -> None:
    """Hold part of the network still: "nothing", "statistics" or "encoder" (see `Recipe.freeze`)."""
    for part, still in ((classifier.encoder, what == "encoder"), (classifier.decoder, False)):
        part.trainable = not still
        # Layers are set one by one: the part's own setting does not reach those that were set before.
        for layer in part.layers:
            # With a few hundred galaxies, batch statistics are noisier than the pretrained ones are wrong.
            statistics = what != "nothing" and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = not (still or statistics)
