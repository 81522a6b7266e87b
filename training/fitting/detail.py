"""Learning the detail decoder against critics (`training.fitting.detail_losses`), behind the frozen encoder.

A galaxy's posterior gives z, and z the likelihood decoder's picture; the detail decoder adds to it what it makes of
noise. Sky noise is added before anything is compared, so that what is drawn is the galaxy without it. Critics of
several resolutions must distinguish such images from real ones, and the detail decoder learns to deceive them. The
galaxy that z comes from says how much structure there is, though not where: the encoder's features of the image, the
strength of structure at several scales and the light must be like that galaxy's in every sixteenth of the image.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from morph.atomic import atomic
from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.detail import Detail, noise_size
from morph.model.store import load_model
from morph.votes import vote_counts
from training.fitting.batches import linear, mostly_artifact
from training.fitting.checkpoint import Checkpoint, EpochLines, Finite
from training.fitting.detail_losses import UNIT, AdversarialLoss
from training.fitting.posteriors import experts_of, turned
from training.fitting.sets import Task, training_sets, weighted
from training.fitting.sky_noise import SkyNoise

#: Galaxies of a set that its noise is measured on.
MEASURED = 500
#: The share of galaxies whose z is given by the image alone. In the others all that is known takes part, as in the z
#: that the latent prior draws, which lie elsewhere.
IMAGE_ALONE = 0.5
#: Adam's decay of moments, for two networks that learn from each other (Sauer et al. 2021).
BETAS = (0.0, 0.99)


@dataclass(frozen=True)
class DetailRecipe:
    """How long and how fast to learn.

    Attributes
    ----------
    epochs, steps, batch : passes, batches in a pass, galaxies in a batch.
    rate : Adam's highest learning rate, of both sides; it falls as a cosine.
    average : momentum of the average over steps that is kept.
    precision : of the frozen encoder and decoder.
    """

    epochs: int = 20
    steps: int = 500
    batch: int = 32
    rate: float = 5e-4
    average: float = 0.998
    precision: str = "float32"


class Views(keras.utils.PyDataset):
    """Batches of galaxies, turned and mirrored, with the noise that goes with each.

    An item is ``(given, image)``; `given` holds ``image`` (stretched), ``sky`` (noise, to be divided by the stretch's
    slope), ``experts`` and ``known`` (see `posterior_draw`), ``draw`` and ``noise`` (standard normal, of the posterior
    and of the detail).

    Parameters
    ----------
    classifier : whose preprocessing is used.
    sets : galaxies and the share of every batch that each contributes.
    steps, batch, seed : batches in an epoch, galaxies in a batch, and the seed of all that is drawn.
    """

    def __init__(
        self, classifier: Classifier, sets: Sequence[tuple[Galaxies, float]], steps: int, batch: int, seed: int
    ):
        super().__init__(workers=2, max_queue_size=8)
        self.classifier, self.steps, self.batch, self.seed, self.epoch = classifier, steps, batch, seed, 0
        usable = [galaxies.select(_usable(galaxies)) for galaxies, _ in sets]
        # Only what the network sees of each stamp is kept.
        self.sets = [classifier.central(galaxies.images) for galaxies in usable]
        self.experts = [experts_of(classifier, galaxies) for galaxies in usable]
        if not sum(map(len, self.sets)):
            raise InputError("There are no galaxies to learn detail from.")
        shares = np.array([share * bool(len(own)) for (_, share), own in zip(sets, self.sets, strict=True)])
        self.shares = shares / shares.sum()
        self.noises = [self._noise_of(images) for images in self.sets]

    def _noise_of(self, images: np.ndarray) -> SkyNoise:
        some = np.random.default_rng(self.seed).permutation(len(images))[:MEASURED]
        if not len(some):
            return SkyNoise.white()
        parts = [self._inputs(images[some[start : start + 100]]) for start in range(0, len(some), 100)]
        return SkyNoise.measure(*(np.concatenate([part[name] for part in parts]) for name in parts[0]))

    def _inputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        inputs = self.classifier.preprocessing(ops.convert_to_tensor(linear(images)))
        return {name: ops.convert_to_numpy(inputs[name]) for name in ("image", "sigma", "valid")}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        random = np.random.default_rng([self.seed, self.epoch, index])
        counts = random.multinomial(self.batch, self.shares)
        parts = [self._some(number, count, random) for number, count in enumerate(counts) if count]
        given = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        size = self.classifier.latent
        given["draw"] = random.standard_normal((self.batch, size), dtype="float32")
        given["noise"] = random.standard_normal((self.batch, noise_size()), dtype="float32")
        return given, given["image"]

    def _some(self, number: int, count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Galaxies of one of the sets."""
        images, (experts, present) = self.sets[number], self.experts[number]
        chosen = np.sort(random.choice(len(images), count, replace=count > len(images)))
        inputs = self._inputs(turned(images[chosen], int(random.integers(8))))
        # The stretch's slope at the sky is 1, so that this is the noise of empty sky.
        sigma = inputs["sigma"] * np.cosh(UNIT * inputs["image"])
        sky = sigma * self.noises[number].draw(random, count, self.classifier.size)
        known = present[chosen] * (random.random((count, 1)) >= IMAGE_ALONE)
        known[:, 0] = 1.0
        return {
            "image": inputs["image"],
            "sky": sky.astype("float32"),
            "experts": experts[chosen],
            "known": known.astype("float32"),
        }

    def on_epoch_end(self) -> None:
        self.epoch += 1


def _usable(galaxies: Galaxies) -> np.ndarray:
    """The galaxies with data in every pixel that volunteers do not take for artefacts."""
    artifacts = ops.convert_to_numpy(mostly_artifact(vote_counts(galaxies.votes))) > 0
    whole = np.array([np.isfinite(image).all() for image in galaxies.images], bool)
    return np.flatnonzero(whole & ~artifacts)


def fit_detail(
    classifier: Classifier,
    sets: Sequence[tuple[Galaxies, float]],
    recipe: DetailRecipe = DetailRecipe(),
    seed: int = 0,
    checkpoint: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Learn the detail decoder in place; everything else of the classifier stays.

    Parameters
    ----------
    classifier : changed in nothing but its `detail`.
    sets : galaxies of either kind of image, and the share of every batch that each contributes.
    recipe : how long and how fast.
    seed : of the network, the batches and all noise.
    checkpoint : a folder; a run that finds its own unfinished state there goes on from it.
    callbacks : more of Keras's, such as one that reports.

    Returns
    -------
    The history: every figure, one value an epoch; empty where the epochs were done before.

    Raises
    ------
    InputError : there are no galaxies, or a loss is not finite.
    """
    keras.utils.set_random_seed(seed)
    batches = Views(classifier, sets, recipe.steps, recipe.batch, seed)
    detail = classifier.detail
    detail.set_weights(Detail.from_config(detail.get_config()).get_weights())
    detail.trainable = True
    # From here on, so that the state of an unfinished training holds it.
    detail.is_fitted.assign(1.0)
    loss = _compiled(detail, classifier, recipe)
    loss.scale(batches[0][0]["image"])
    # Before the checkpoint, which must not hold weights that are not finite.
    kept: list[keras.callbacks.Callback] = [Finite(remedy="")]
    if checkpoint is not None:
        kept.append(Checkpoint(checkpoint, recipe.steps))
        batches.epoch = kept[-1].restore(loss)
    done = batches.epoch
    history = loss.fit(
        batches,
        epochs=recipe.epochs,
        initial_epoch=done,
        # The batches of an epoch follow from its number, so that a resumed run sees those it would have seen.
        shuffle=False,
        callbacks=[*kept, keras.callbacks.SwapEMAWeights(swap_on_epoch=True), *callbacks],
        verbose=0,
    ).history
    if done >= recipe.epochs:
        loss.optimizer.finalize_variable_values(loss.trainable_variables)
    detail.trainable = False
    return {name: [float(value) for value in values] for name, values in history.items()}


def _compiled(detail: Detail, classifier: Classifier, recipe: DetailRecipe) -> AdversarialLoss:
    """The loss, ready to be fitted, with a copy of the classifier's network, which it freezes."""
    loss = AdversarialLoss(detail, classifier.in_precision(recipe.precision))
    first, second = BETAS
    averaged = {"use_ema": True, "ema_momentum": recipe.average}
    # At a rate that stays, the light of what is drawn jumps now and then, and late in the training by far.
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, recipe.epochs * recipe.steps, alpha=0.05)
    loss.compile(
        optimizer=keras.optimizers.Adam(rate, beta_1=first, beta_2=second, **averaged),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return loss


def learn_detail(
    model: Path,
    to: Path,
    task: Task,
    recipe: DetailRecipe = DetailRecipe(),
    seed: int = 0,
    judge: Callable[[Classifier, list[Galaxies]], dict[str, Any]] | None = None,
) -> None:
    """Write a model with a detail decoder that was learned from the training galaxies of a task.

    Parameters
    ----------
    model : the file of the model that it belongs to.
    to : the file to write. The state of a run that was stopped stands in ``.NAME-*`` beside it, from which the same
        call goes on.
    task : what to learn from.
    recipe : how long and how fast.
    seed : of the network, the batches and all noise.
    judge : called with the model that has learned and with galaxies that are held out; what it returns becomes a part
        of the model's description.
    """
    classifier = load_model(model)
    sets, held_out = training_sets(task, seed)
    data = [[galaxies.digest, share] for galaxies, share in sets]
    same = json.dumps([classifier.digest, data, asdict(recipe), seed])
    state = to.with_name(f".{to.stem}-{hashlib.sha256(same.encode()).hexdigest()[:12]}")
    for other in set(to.parent.glob(f".{to.stem}-*")) - {state}:
        shutil.rmtree(other)
    fit_detail(classifier, sets, recipe, seed, state, [EpochLines("Detail", recipe.epochs)])
    trained_on = [Path(weighted(name)[0]).name for name in (*task.labelled, *task.unlabelled)]
    about = {"trained_on": trained_on, "epochs": recipe.epochs, "steps": recipe.steps}
    judged = {} if judge is None else judge(classifier, held_out)
    classifier.about = {**classifier.about, "detail": {**about, **judged}}
    with atomic(to) as building:
        classifier.save(building)
    shutil.rmtree(state, ignore_errors=True)
