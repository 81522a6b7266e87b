"""Training: the loss, the loop, and what happens at its end.

The loss of a galaxy is the Dirichlet-multinomial likelihood of its votes given its image, plus the evidence lower
bound of all that is known of it (image, votes, magnitudes, size, redshift) given a part of it, drawn at every step:
the sub-sampled training of Wu & Goodman (2018), with every known modality inferred from every part. So unlabelled
galaxies teach the encoder too, and whatever is missing can be inferred from whatever is there.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops

from morph.atomic import atomic
from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.experts import MODALITIES, bounded, columns_of, log_density, product
from morph.model.vote_likelihood import log_likelihood
from morph.votes import vote_counts, was_asked
from training.fitting.anomaly_reference import learn_reference
from training.fitting.augment import Disturb, Strength, Turn
from training.fitting.batch_statistics import BATCHES, settle
from training.fitting.batches import Batches, given_of, mostly_artifact
from training.fitting.calibrate import calibrate
from training.fitting.heads import STRENGTH, refit
from training.fitting.layerwise import LayerwiseAdamW, falling_shares
from training.fitting.reference_sample import store_reference_sample

#: Independent pixels of a stamp: the noise of resampled images is correlated over about five pixels.
INDEPENDENT_PIXELS = 600.0

#: Momentum of the average over steps that the weights are taken from.
EMA = 0.995

#: The file in the checkpoint's folder that holds the weights when all epochs are done.
TRAINED = "trained.weights.h5"

#: What is inferred from z beside the image, in the order of the recipe's weights.
_INFERRED = ("votes_from_z", "photometry", "radius", "redshift")


@dataclass(frozen=True)
class Recipe:
    """How to train; everything that a run's record must hold.

    Attributes
    ----------
    epochs, batch_size, seed : as usual.
    learning_rate : its peak; it warms up over one epoch and falls as a cosine.
    weight_decay : AdamW's.
    elbo : weight of the evidence lower bound against the votes' likelihood; at 1/384 the image's part is somewhat
        smaller than the votes' once the decoder has learned to draw.
    beta : weight of the Kullback-Leibler term inside the bound; it rises from zero over the first `beta_rises`
        share of the epochs.
    free_bits : nats a dimension of z may tell before that term counts (Kingma et al. 2016).
    votes, photometry, radius, redshift : weights of those modalities against the votes' likelihood. A few numbers
        are nothing beside an image's thousands, so each counts for more than its due in the bound, as in Wu &
        Goodman (2018).
    imagined : weight of an image's reconstruction from a part that does not hold the image.
    balance : how much more often rare answers are drawn (see `training.fitting.batches.rarity`).
    freeze : which part keeps its weights: "nothing", "statistics" (batch normalisation only) or "encoder".
    average : momentum of the average over steps that is kept; by default it spans a fifth of a short training. Set, it
        lets a short training stay near where it began, which keeps what the parent knew (Wortsman et al. 2022).
    layer_decay : the learning rate of each layer of the encoder as a share of that of the layer after it.
    heads : how strongly the heads are held when they are refitted at the end (see `training.fitting.heads`); None
        leaves that out.
    steps : batches an epoch; by default about one pass through the galaxies.
    augment : how strongly to vary the images.
    """

    epochs: int = 30
    batch_size: int = 64
    seed: int = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    elbo: float = 1 / 384
    beta: float = 1.0
    beta_rises: float = 0.1
    free_bits: float = 0.02
    votes: float = 0.1
    photometry: float = 0.1
    radius: float = 0.05
    redshift: float = 0.2
    imagined: float = 0.25
    balance: float = 0.5
    freeze: str = "nothing"
    average: float | None = None
    layer_decay: float = 1.0
    heads: float | None = None
    steps: int | None = None
    augment: Strength = field(default_factory=Strength)

    def parameters(self) -> dict[str, float | int | str | None]:
        """Flat, for a run's record."""
        flat = {name: value for name, value in asdict(self).items() if name != "augment"}
        return {**flat, **{f"augment_{name}": value for name, value in asdict(self.augment).items()}}


#: Adapting a model: gentler everywhere, the pretrained statistics kept, and the heads settled at the end.
FINETUNING = Recipe(learning_rate=5e-4, batch_size=32, freeze="statistics", balance=0.3, average=0.99, heads=STRENGTH)


class Training(keras.Model):
    """A classifier being trained: augmentation, forward pass and loss in one Keras model."""

    def __init__(self, classifier: Classifier, recipe: Recipe, **options):
        super().__init__(**options)
        self.classifier, self.recipe = classifier, recipe
        self.turn = Turn(classifier.size, recipe.augment, seed=recipe.seed)
        self.disturb = Disturb(recipe.augment, seed=recipe.seed + 1)
        self.generator = keras.random.SeedGenerator(recipe.seed + 2)
        #: How much of `Recipe.beta` counts; set at the start of every epoch.
        self.rise = self.add_weight(shape=(), initializer="ones", trainable=False, name="rise")
        names = ("votes", "reconstruction", "divergence", *_INFERRED)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    def build(self, input_shape=None):
        """The classifier is built already; the rest has no weights."""

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers.values()]

    def call(self, given, training=False):
        """The terms of the loss for each galaxy; `given` as `training.fitting.batches.given_of` makes it."""
        classifier, experts = self.classifier, self.classifier.experts
        turned = self.turn(given["image"], training=training)
        way_in = self.disturb(classifier.preprocessing(turned), training=training)
        encoded = classifier.encoder(way_in["image"], training=training)
        concentration = classifier.heads([encoded["features"], classifier.embed(encoded)], training=training)
        means, log_variances, present = experts(given["votes"], given["measurements"])
        present = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=1)
        # Where nothing is drawn, the image alone speaks, as in use.
        part = self._part(present) if training else present * np.eye(len(MODALITIES), dtype="float32")[:1]
        mean, log_variance = product(
            [encoded["mean"], *means], [bounded(encoded["log_variance"]), *log_variances], part
        )
        z = mean
        if training:
            z = mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.generator)
        drawn = classifier.decoder(z, training=training)
        return {
            "concentration": concentration,
            "error": classifier.reconstruction_error({**way_in, "image": way_in["clean"]}, drawn),
            "seen": part[:, 0],
            "divergence": 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance),
            **self._inferred(z, given, present),
        }

    def _part(self, present):
        """Which of the known modalities the bound is taken given: all of them for half of the galaxies, the image
        alone for a quarter, any part for the rest. [n, modalities] of zeros and ones."""
        n, known = ops.shape(present)
        choice = keras.random.uniform((n, 1), seed=self.generator)
        kept = present * ops.cast(keras.random.uniform((n, known), seed=self.generator) < 0.5, "float32")
        kept = ops.where(ops.sum(kept, axis=1, keepdims=True) > 0, kept, present)
        image = present * np.eye(known, dtype="float32")[:1]
        return ops.where(choice < 0.5, present, ops.where(choice < 0.75, image, kept))

    def _inferred(self, z, given, present) -> dict:
        """Minus the log-likelihood of the votes and of every measurement given z, [n] each; 0 where unknown."""
        experts = self.classifier.experts
        found = {"votes_from_z": -ops.sum(log_likelihood(experts.votes_from(z), given["votes"]), axis=-1)}
        values = given["measurements"]
        values = ops.clip(ops.where(ops.isfinite(values), values, 0.0), -6.0, 6.0)
        for name, mixture in experts.measurements_from(z).items():
            known = present[:, MODALITIES.index(name)]
            found[name] = -known * log_density(mixture, values[:, columns_of(name)])
        return found

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        recipe = self.recipe
        likelihood = ops.sum(log_likelihood(y_pred["concentration"], y), axis=-1)
        # What is no galaxy must not teach the decoder to draw it: the anomaly score lives on that failure.
        galaxy = 1.0 - ops.cast(mostly_artifact(y), "float32")
        # The error of a failed fit grows with the square; its logarithm beyond ten keeps one stamp with a
        # bright star from steering the step.
        error = y_pred["error"]
        error = ops.where(error > 10.0, 10.0 * (1.0 + ops.log(ops.maximum(error, 10.0) / 10.0)), error)
        weight = galaxy * (recipe.imagined + (1.0 - recipe.imagined) * y_pred["seen"])
        told = ops.mean(galaxy[:, None] * y_pred["divergence"], axis=0)
        divergence = ops.sum(ops.maximum(told, recipe.free_bits))
        image = 0.5 * INDEPENDENT_PIXELS * ops.mean(weight * error)
        loss = ops.mean(-likelihood) + recipe.elbo * (image + recipe.beta * self.rise * divergence)
        shares = (recipe.votes, recipe.photometry, recipe.radius, recipe.redshift)
        for name, share in zip(_INFERRED, shares, strict=True):
            term = ops.mean(galaxy * y_pred[name])
            loss = loss + share * term
            self.trackers[name].update_state(term)
        self.trackers["votes"].update_state(-likelihood)
        self.trackers["reconstruction"].update_state(y_pred["error"])
        self.trackers["divergence"].update_state(ops.sum(y_pred["divergence"], axis=-1))
        return loss


class _Epochs(keras.callbacks.Callback):
    """Tells the batches which epoch it is, lets beta rise, and tells the caller how it went."""

    def __init__(self, batches: Batches, recipe: Recipe, report: Callable[[int, dict[str, float]], None] | None):
        super().__init__()
        self.batches, self.report = batches, report
        self.rises = max(recipe.beta_rises * recipe.epochs, 1e-6)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.begin_epoch(epoch)
        self.model.rise.assign(min(1.0, (epoch + 0.5) / self.rises))

    def on_epoch_end(self, epoch, logs=None):
        if self.report:
            self.report(epoch, {name: float(value) for name, value in (logs or {}).items()})


class _Finite(keras.callbacks.Callback):
    """Ends a training whose loss is not finite: its weights are worth nothing, and nothing of it is to be kept."""

    def on_epoch_end(self, epoch, logs=None):
        losses = {name: float((logs or {}).get(name, 0.0)) for name in ("loss", "val_loss")}
        wrong = [f"{name} {value:g}" for name, value in losses.items() if not np.isfinite(value)]
        if wrong:
            raise InputError(
                f"Training stopped in epoch {epoch + 1} because its loss is not finite ({', '.join(wrong)}); "
                "lower --learning-rate, or look for impossible votes, magnitudes or pixels in the datasets."
            )


def fit(
    classifier: Classifier,
    sets: Sequence[tuple[Galaxies, float]],
    validation: Galaxies | None,
    recipe: Recipe,
    checkpoint: Path | None = None,
    report: Callable[[int, dict[str, float]], None] | None = None,
    held_out: Sequence[Galaxies] = (),
    hosts: Sequence[Galaxies] = (),
) -> dict[str, list[float]]:
    """Train `classifier` in place.

    Parameters
    ----------
    sets : training sets and the share of every batch that each contributes.
    validation : galaxies to watch, and on which to learn what is normal for the anomaly score and how to calibrate.
    held_out : all such galaxies where `validation` is only a part of them, of both kinds of image or without votes;
        by default `validation`.
    hosts : training galaxies to plant anomalies on, which is how the anomaly score learns what is strange; by default
        those of all sets.
    checkpoint : a folder; a run that finds its own unfinished state there goes on from it. At the end it holds the
        trained weights, for the caller to remove when the model is saved.
    report : called after every epoch with the epoch and its figures.

    Returns
    -------
    The history: every figure, one value an epoch.

    Raises
    ------
    InputError : the loss is not finite.
    """
    keras.utils.set_random_seed(recipe.seed)
    batches = Batches(list(sets), recipe.batch_size, seed=recipe.seed, steps=recipe.steps, balance=recipe.balance)
    freeze(classifier, recipe.freeze)
    training = Training(classifier, recipe)
    trained = None if checkpoint is None else checkpoint / TRAINED
    history: dict[str, list[float]] = {}
    if trained is not None and trained.exists():
        classifier.load_weights(trained)
    else:
        history = _run_epochs(training, batches, validation, recipe, checkpoint, report)
        if trained is not None:
            with atomic(trained) as building:
                classifier.save_weights(building)
    if recipe.freeze == "nothing":
        batches.begin_epoch(recipe.epochs)
        some = (batches[number] for number in range(min(BATCHES, len(batches))))
        settle(training, some, (classifier.encoder, classifier.decoder))
    freeze(classifier, "nothing")
    if recipe.heads is not None:
        refit(classifier, [galaxies for galaxies, _ in sets], recipe.heads, recipe.seed)
    if validation is not None:
        learn_reference(classifier, held_out or validation, hosts or [galaxies for galaxies, _ in sets])
        calibrate(classifier, held_out or validation)
    # Without held-out galaxies too: the embeddings of an earlier reference sample belong to the weights before. Only
    # sets with labels enter: the shift is measured from the galaxies on which the answers were learned.
    known = held_out or ([] if validation is None else [validation])
    store_reference_sample(classifier, *(galaxies for galaxies in known if was_asked(galaxies.votes).any()))
    return history


def _run_epochs(
    training: Training,
    batches: Batches,
    validation: Galaxies | None,
    recipe: Recipe,
    checkpoint: Path | None,
    report: Callable[[int, dict[str, float]], None] | None,
) -> dict[str, list[float]]:
    """Pass through the batches as often as the recipe says; returns the history."""
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
            shares=falling_shares(training, training.classifier.encoder, recipe.layer_decay),
            weight_decay=recipe.weight_decay,
            clipnorm=1.0,
            use_ema=True,
            # A short training from nothing must not end up as an average with where it began.
            ema_momentum=recipe.average or min(EMA, 1 - 5 / max(total, 10)),
        ),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    # Before the backup, which must not hold weights that are not finite.
    callbacks: list[keras.callbacks.Callback] = [_Finite()]
    if checkpoint is not None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        callbacks.append(
            keras.callbacks.BackupAndRestore(str(checkpoint), double_checkpoint=True, delete_checkpoint=False)
        )
    # After the backup, which must hold the weights that training goes on with and not their average.
    callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks.append(_Epochs(batches, recipe, report))
    watched = None if validation is None else (given_of(validation), vote_counts(validation.votes))
    history = training.fit(
        batches,
        epochs=recipe.epochs,
        validation_data=watched,
        validation_batch_size=128,
        callbacks=callbacks,
        verbose=0,
    )
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
