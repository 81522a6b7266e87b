"""The training objective.

The loss of a galaxy is the Dirichlet-multinomial likelihood of its votes given its image, plus the evidence lower
bound of all its known properties (image, votes, magnitudes, size, redshift) given a random subset of them, drawn at
every step: the sub-sampled training of Wu & Goodman (2018), with every known modality inferred from every subset. So
unlabelled galaxies train the encoder too, and missing modalities can be inferred from those that are known.

A contrastive term may be added (SimCLR: Chen et al. 2020): of all images in a batch, the features of two differently
augmented views of one galaxy should be the most alike, so that what the augmentation varies does not show in them.
"""

from dataclasses import asdict, dataclass, field

import keras
import numpy as np
from keras import ops

from morph.model.classifier import Classifier
from morph.model.experts import MODALITIES, bounded, columns_of, log_density, product
from morph.model.heads import log_likelihood
from training.fitting.adaptation import STRENGTH
from training.fitting.augment import Disturb, Strength, Turn
from training.fitting.batches import mostly_artifact

#: Independent pixels of a stamp: the noise of resampled images is correlated over about five pixels.
INDEPENDENT_PIXELS = 600.0
#: Softmax temperature of the contrastive term, and the length of the vectors that it compares.
TEMPERATURE, PROJECTED = 0.2, 64
#: What is inferred from z beside the image, in the order of the recipe's weights.
_INFERRED = ("votes_from_z", "photometry", "radius", "redshift")


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that the record of a run must contain.

    Attributes
    ----------
    epochs, batch_size, seed : as usual.
    learning_rate : its peak; it warms up over one epoch and falls as a cosine.
    weight_decay : AdamW's.
    elbo : weight of the evidence lower bound against the votes' likelihood; at 1/384 the image's part is somewhat
        smaller than the votes' once the decoder reconstructs well.
    beta : weight of the Kullback-Leibler term inside the bound; it rises from zero over the first `beta_rises`
        share of the epochs.
    free_bits : nats of information in each dimension of z before that term counts (Kingma et al. 2016).
    votes, photometry, radius, redshift : weights of those modalities against the votes' likelihood. A few numbers
        would be lost among an image's thousands, so each has more weight than the bound gives it, as in Wu & Goodman
        (2018).
    imagined : weight of an image's reconstruction from a subset without the image.
    contrast : weight of the contrastive term against the votes' likelihood. With it, every step sees two views of each
        galaxy, and all terms count both.
    balance : how much more often rare answers are drawn (see `training.fitting.batches.rarity`).
    freeze : which part keeps its weights: "nothing", "statistics" (batch normalisation only) or "encoder".
    average : momentum of the average over steps that is kept; by default it spans a fifth of a short training. Set, it
        keeps a short training near its start, which preserves what the parent learned (Wortsman et al. 2022).
    layer_decay : the learning rate of each layer of the encoder as a share of that of the layer after it.
    heads : how strongly the heads are held when they are refitted at the end; None leaves that out (see
        `training.fitting.adaptation.refit`).
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
    contrast: float = 0.0
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


#: Training from scratch, by architecture. The large network sees fewer images in the same time, in smaller batches.
PRETRAINING = {"small": Recipe(), "large": Recipe(learning_rate=1e-3, batch_size=40, weight_decay=0.02)}
#: Adapting a model: smaller steps, the pretrained statistics kept, and the heads refitted at the end.
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
        names = ["votes", "reconstruction", "divergence", *_INFERRED]
        if recipe.contrast:
            names.append("contrast")
            # It takes the contrastive term's own demands off the features, and is not kept.
            self.projection = build_projection(classifier.encoder.output["features"].shape[-1])
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
        two_views = training and bool(self.recipe.contrast)
        if two_views:
            turned = ops.concatenate([turned, self.turn(given["image"], training=True)])
            given = {name: _twice(given[name]) for name in ("votes", "measurements")}
        inputs = self.disturb(classifier.preprocessing(turned), training=training)
        encoded = classifier.encoder(inputs["image"], training=training)
        concentration = classifier.heads([encoded["features"], classifier.embed(encoded)], training=training)
        means, log_variances, present = experts(given["votes"], given["measurements"])
        present = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=1)
        # In inference, from the image alone.
        part = self._part(present) if training else present * np.eye(len(MODALITIES), dtype="float32")[:1]
        mean, log_variance = product(
            [encoded["mean"], *means], [bounded(encoded["log_variance"]), *log_variances], part
        )
        z = mean
        if training:
            z = mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.generator)
        reconstruction = classifier.decoder(z, training=training)
        contrast = {"contrast": contrastive_loss(self.projection(encoded["features"]))} if two_views else {}
        return {
            **contrast,
            "concentration": concentration,
            "error": classifier.reconstruction_error({**inputs, "image": inputs["clean"]}, reconstruction),
            "image_given": part[:, 0],
            "divergence": 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance),
            **self._inferred(z, given, present),
        }

    def _part(self, present):
        """The modalities that are given: all known ones for half of the galaxies, the image alone for a quarter, any
        subset for the rest. [n, modalities] of zeros and ones."""
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
        if "contrast" in y_pred:
            y = _twice(y)
        likelihood = ops.sum(log_likelihood(y_pred["concentration"], y), axis=-1)
        # The decoder must not learn to reconstruct artifacts: the anomaly score relies on that failure.
        galaxy = 1.0 - ops.cast(mostly_artifact(y), "float32")
        # The error of a failed fit grows with the square; its logarithm beyond ten keeps one stamp with a
        # bright star from steering the step.
        error = y_pred["error"]
        error = ops.where(error > 10.0, 10.0 * (1.0 + ops.log(ops.maximum(error, 10.0) / 10.0)), error)
        weight = galaxy * (recipe.imagined + (1.0 - recipe.imagined) * y_pred["image_given"])
        information = ops.mean(galaxy[:, None] * y_pred["divergence"], axis=0)
        divergence = ops.sum(ops.maximum(information, recipe.free_bits))
        image = 0.5 * INDEPENDENT_PIXELS * ops.mean(weight * error)
        loss = ops.mean(-likelihood) + recipe.elbo * (image + recipe.beta * self.rise * divergence)
        shares = (recipe.votes, recipe.photometry, recipe.radius, recipe.redshift)
        for name, share in zip(_INFERRED, shares, strict=True):
            term = ops.mean(galaxy * y_pred[name])
            loss = loss + share * term
            self.trackers[name].update_state(term)
        if "contrast" in y_pred:
            loss = loss + recipe.contrast * ops.mean(y_pred["contrast"])
            self.trackers["contrast"].update_state(y_pred["contrast"])
        self.trackers["votes"].update_state(-likelihood)
        self.trackers["reconstruction"].update_state(y_pred["error"])
        self.trackers["divergence"].update_state(ops.sum(y_pred["divergence"], axis=-1))
        return loss


def build_projection(features: int) -> keras.Model:
    """Features [n, features] to the vectors [n, `PROJECTED`] that the contrastive term compares."""
    given = keras.Input((features,))
    x = keras.layers.Dense(features, activation="relu")(given)
    return keras.Model(given, keras.layers.Dense(PROJECTED)(x), name="projection")


def contrastive_loss(vectors):
    """Minus the log-probability that each view finds the other view of its galaxy (Chen et al. 2020, eq. 1).

    Parameters
    ----------
    vectors : [2 n, d]; row i and row i + n belong to one galaxy.

    Returns
    -------
    [2 n].
    """
    count = vectors.shape[0] or ops.shape(vectors)[0]
    unit = vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-9)
    # No view may find itself.
    likeness = ops.matmul(unit, ops.transpose(unit)) / TEMPERATURE - 1e9 * ops.eye(count)
    other = (ops.arange(count) + count // 2) % count
    return ops.logsumexp(likeness, axis=-1) - ops.take_along_axis(likeness, other[:, None], axis=1)[:, 0]


def _twice(rows):
    return ops.concatenate([rows, rows])
