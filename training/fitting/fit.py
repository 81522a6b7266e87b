"""Training a classifier: the loop over epochs, and the parts after it, from batch statistics to calibration."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras

from morph.atomic import atomic
from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from morph.votes import vote_counts, was_asked
from training.fitting.adaptation import refit
from training.fitting.anomaly_reference import learn_reference
from training.fitting.batches import Batches, given_of
from training.fitting.calibrate import calibrate
from training.fitting.checkpoint import Checkpoint, Finite, draw_from_epoch
from training.fitting.codes import fit_codes
from training.fitting.measurements import fit_measurements
from training.fitting.objective import Recipe, Training
from training.fitting.optimisation import BATCHES, LayerwiseAdamW, falling_shares, freeze, refresh_batch_statistics
from training.fitting.parts import Parts, run_parts
from training.fitting.prior import fit_prior
from training.fitting.reference_sample import store_reference_sample
from training.fitting.similarity import STEPS as SIMILARITY_STEPS
from training.fitting.similarity import fit_similarity

#: Momentum of the average over steps that the weights are taken from.
EMA = 0.995

#: The file in the checkpoint's folder that holds the weights when all epochs are done.
TRAINED = "trained.weights.h5"

#: Called after every epoch with the epoch and its figures.
Report = Callable[[int, dict[str, float]], None]


class _Epochs(keras.callbacks.Callback):
    """Draws batches and random numbers of each epoch, raises beta, and reports the epoch's figures to the caller."""

    def __init__(self, batches: Batches, recipe: Recipe, report: Report | None):
        super().__init__()
        self.batches, self.report, self.seed = batches, report, recipe.seed
        self.rises = max(recipe.beta_rises * recipe.epochs, 1e-6)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.begin_epoch(epoch)
        draw_from_epoch(self.model, self.seed, epoch)
        self.model.rise.assign(min(1.0, (epoch + 0.5) / self.rises))

    def on_epoch_end(self, epoch, logs=None):
        if self.report:
            self.report(epoch, {name: float(value) for name, value in (logs or {}).items()})


def fit(
    classifier: Classifier,
    sets: Sequence[tuple[Galaxies, float]],
    validation: Galaxies | None,
    recipe: Recipe,
    checkpoint: Path | None = None,
    report: Report | None = None,
    held_out: Sequence[Galaxies] = (),
    hosts: Sequence[Galaxies] = (),
    announce: Callable[[str], None] | None = None,
) -> dict[str, list[float]]:
    """Train `classifier` in place.

    Parameters
    ----------
    classifier : trained in place.
    sets : training sets and the share of every batch that each contributes.
    validation : galaxies for the validation loss, the anomaly score's reference and the calibration; without them the
        score and the calibration stay as they are.
    recipe : how to train.
    held_out : all such galaxies where `validation` is only a part of them, of both kinds of image or without votes;
        by default `validation`.
    hosts : training galaxies to inject anomalies into, from which the anomaly score learns; by default those of all
        sets.
    checkpoint : a folder; a run that finds its own unfinished state there goes on from it. At the end it holds the
        trained weights, for the caller to remove when the model is saved.
    announce : called with the name of each part after the epochs, before it runs.
    report : called after every epoch with the epoch and its figures.

    Returns
    -------
    The history: every figure, one value an epoch; empty where the epochs were done before.

    Raises
    ------
    InputError : the loss is not finite.
    """
    keras.utils.set_random_seed(recipe.seed)
    batches = Batches(
        list(sets), recipe.batch_size, recipe.seed, recipe.steps, balance=recipe.balance, view=classifier.size
    )
    freeze(classifier, recipe.freeze)
    training = Training(classifier, recipe)
    history = _run_epochs(training, batches, validation, recipe, checkpoint, report)
    held_out = held_out or ([] if validation is None else [validation])
    parts = _parts(training, batches, sets, held_out, hosts, recipe)
    freeze(classifier, "nothing")
    run_parts(training, parts, recipe.seed, recipe.epochs, checkpoint, announce)
    # Without held-out galaxies too: the old sample belongs to another embedding. And only labelled galaxies: the
    # question is how far the answers were learned from.
    store_reference_sample(classifier, *(galaxies for galaxies in held_out if was_asked(galaxies.votes).any()))
    # It was learned for another z.
    classifier.detail.is_fitted.assign(0.0)
    return history


def _parts(
    training: Training,
    batches: Batches,
    sets: Sequence[tuple[Galaxies, float]],
    held_out: Sequence[Galaxies],
    hosts: Sequence[Galaxies],
    recipe: Recipe,
) -> Parts:
    """What follows the epochs of a recipe, in order."""
    classifier, trained_on = training.classifier, [galaxies for galaxies, _ in sets]
    parts: dict[str, Callable[[], object]] = {}
    if recipe.freeze == "nothing":
        parts["batch statistics"] = partial(_refresh, training, batches, recipe)
    if recipe.heads is not None:
        parts["heads"] = partial(refit, classifier, trained_on, recipe.heads, recipe.seed)
    # Few galaxies would fit a worse head than the parent's, which a fine-tuned network keeps.
    if held_out and (recipe.freeze == "nothing" or not classifier.similarity.fitted):
        steps = min(SIMILARITY_STEPS, recipe.epochs * len(batches))
        parts["similarity vector"] = partial(fit_similarity, classifier, sets, recipe.seed, steps)
    parts |= _last_parts(classifier, trained_on, held_out, recipe.seed)
    if held_out:
        parts["anomaly reference"] = partial(learn_reference, classifier, held_out, hosts or trained_on)
        parts["calibration"] = partial(calibrate, classifier, held_out)
    return parts


def _refresh(training: Training, batches: Batches, recipe: Recipe) -> None:
    """Take the batch statistics anew, those of the weights after the last epoch."""
    batches.begin_epoch(recipe.epochs)
    some = (batches[number] for number in range(min(BATCHES, len(batches))))
    refresh_batch_statistics(training, some, (training.classifier.encoder, training.classifier.decoder))


def fit_last(classifier: Classifier, trained_on: Sequence[Galaxies], held_out: Sequence[Galaxies], seed: int) -> None:
    """Fit what changes neither the network nor its answers: the latent prior, the decoders of measurements, and the
    components of codes where there are none.

    Parameters
    ----------
    classifier : trained, and changed in place.
    trained_on, held_out : galaxies to fit to, and others that decide when to stop.
    seed : of what is drawn.
    """
    for part in _last_parts(classifier, trained_on, held_out, seed).values():
        part()


def _last_parts(
    classifier: Classifier, trained_on: Sequence[Galaxies], held_out: Sequence[Galaxies], seed: int
) -> Parts:
    parts: dict[str, Callable[[], object]] = {
        "latent prior": partial(fit_prior, classifier, trained_on, held_out, seed),
        "measurements": partial(fit_measurements, classifier, trained_on, held_out, seed),
    }
    # They do not depend on the network: those of a fine-tuned model are its parent's, so that it reads its codes.
    if not classifier.codes.fitted:
        parts["codes"] = partial(fit_codes, classifier, trained_on, seed)
    return parts


def _run_epochs(
    training: Training,
    batches: Batches,
    validation: Galaxies | None,
    recipe: Recipe,
    checkpoint: Path | None,
    report: Report | None,
) -> dict[str, list[float]]:
    """Train for the recipe's epochs, unless `checkpoint` holds the weights after them, which are then loaded; returns
    the history, empty then."""
    classifier = training.classifier
    trained = None if checkpoint is None else checkpoint / TRAINED
    if trained is not None and trained.exists():
        classifier.load_weights(trained)
        return {}
    _compile(training, recipe, len(batches))
    # Before the checkpoint, which must not hold weights that are not finite.
    callbacks: list[keras.callbacks.Callback] = [Finite()]
    done = 0
    if checkpoint is not None:
        callbacks.append(Checkpoint(checkpoint, len(batches)))
        done = callbacks[-1].restore(training)
    # After the checkpoint, which must hold the current weights and not their average.
    callbacks += [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), _Epochs(batches, recipe, report)]
    watched = None
    if validation is not None:
        watched = given_of(validation, size=classifier.size), vote_counts(validation.votes)
    history = training.fit(
        batches,
        epochs=recipe.epochs,
        initial_epoch=done,
        validation_data=watched,
        validation_batch_size=128,
        callbacks=callbacks,
        verbose=0,
    )
    if trained is not None:
        with atomic(trained) as building:
            classifier.save_weights(building)
    return {name: [float(v) for v in values] for name, values in history.history.items()}


def _compile(training: Training, recipe: Recipe, steps: int) -> None:
    """Give a training its optimiser, for epochs of so many steps."""
    total = recipe.epochs * steps
    warm_up = min(steps, total // 10 + 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate * 0.05,
        max(total - warm_up, 1),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = LayerwiseAdamW(
        schedule,
        shares=falling_shares(training, training.classifier.encoder, recipe.layer_decay),
        weight_decay=recipe.weight_decay,
        clipnorm=1.0,
        use_ema=True,
        # In a short training from scratch the average must not include its start.
        ema_momentum=recipe.average or min(EMA, 1 - 5 / max(total, 10)),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    training.compile(optimizer=optimizer, jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
