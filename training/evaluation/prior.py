"""How well the latent prior's draws agree with the embeddings of galaxies that it was not fitted on."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS
from morph.model.experts import MEASURED, MEASUREMENTS, columns_of, restore
from training.evaluation.anomalies import auroc
from training.fitting.posteriors import VIEWS, Posteriors
from training.metrics.estimates import Estimate
from training.metrics.photoz import sigma_mad

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Galaxies that a measurement needs.
FEWEST = 100
#: Folds of the classifier that separates the samples, and its hidden layers.
FOLDS, HIDDEN = 2, (128, 64)
#: Rows of z that go through the flow at a time.
_ROWS = 4096
#: What is asked for, and its column among the measurements.
ASKED = {"photometry": 1, "radius": 3, "redshift": 4}


@dataclass(frozen=True)
class PriorFigures:
    """What `measure_prior` measures.

    Attributes
    ----------
    figures : by name:

        - ``auc/<prior>``: how well a fresh classifier, a multilayer perceptron, separates draws of a prior from
          posterior draws of the held-out galaxies: the area under its ROC curve, 0.5 for not at all. The priors are
          ``flow`` with all known properties of each galaxy, ``flow-survey`` with its survey and kind of image alone,
          ``gaussian``, with the mean and covariance of the galaxies that the flow was fitted on, and ``normal``,
          N(0, 1).
        - ``log-density/<prior>``: mean log-density of the posterior draws, nats.
        - ``distance-ratio``: median distance of the flow's draws to the nearest of as many training galaxies, over
          that to the nearest held-out one; below 1 where the flow has memorised. Only with training galaxies.
        - ``asked/<property>``: scatter (1.4826 MAD) of what the decoders read from draws about what was asked for: mag
          in r, dex of the radius, (1 + z) of the redshift.

    galaxies : how many were held out.
    """

    figures: dict[str, Estimate]
    galaxies: int

    def flat(self) -> dict[str, Estimate]:
        """Every figure by its name behind ``prior/``."""
        return {f"prior/{name}": figure for name, figure in self.figures.items()}

    def lines(self) -> list[str]:
        """A few sentences."""
        lines = [
            f"Latent prior: a fresh classifier separates its draws from posterior draws of {self.galaxies:,} galaxies "
            f"with an area under the ROC curve of {self._shown('auc/flow')}, where only survey and kind of image are "
            f"given of {self._shown('auc/flow-survey')}; a fitted Gaussian's of {self._shown('auc/gaussian')}, "
            f"N(0, 1)'s of {self._shown('auc/normal')}."
        ]
        if "distance-ratio" in self.figures:
            lines.append(f"Distance to training over held-out galaxies: {self._shown('distance-ratio')}.")
        asked = [f"{name} {self._shown(f'asked/{name}')}" for name in ASKED if f"asked/{name}" in self.figures]
        return (
            [*lines, f"Scatter of what its draws show about what was asked for: {', '.join(asked)}."]
            if asked
            else lines
        )

    def _shown(self, name: str) -> str:
        figure = self.figures[name]
        return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


def measure_prior(
    classifier: Classifier, held_out: Sequence[Galaxies], trained_on: Sequence[Galaxies] = (), seed: int = 0
) -> PriorFigures:
    """Compare draws of the latent prior with posterior draws of held-out galaxies.

    Parameters
    ----------
    classifier : with a fitted prior.
    held_out : galaxies that the prior was not fitted on, of any kind of image.
    trained_on : galaxies that it was fitted on, to see whether it has memorised them.
    seed : of the draws and of the classifier.

    Raises
    ------
    InputError : there are fewer than `FEWEST` galaxies, or the model's prior is not fitted.
    """
    check_prior(classifier, *held_out)

    def joined(sets: Sequence[Galaxies]) -> Posteriors:
        return Posteriors.concatenate([Posteriors.of(classifier, galaxies, VIEWS[:1]) for galaxies in sets])

    return measure_posteriors(classifier, joined(held_out), joined(trained_on) if trained_on else None, seed)


def measure_posteriors(
    classifier: Classifier, held_out: Posteriors, trained_on: Posteriors | None = None, seed: int = 0
) -> PriorFigures:
    """`measure_prior` of galaxies whose posteriors are known.

    Parameters
    ----------
    classifier : with a fitted prior.
    held_out, trained_on : galaxies outside the training, and galaxies of it.
    seed : of the draws.
    """
    random = np.random.default_rng(seed)
    z = held_out.draw(random)[:, 0]
    noise = random.standard_normal(z.shape).astype("float32")
    samples, densities = _priors(classifier, held_out.conditions)
    drawn = {name: sample(noise) for name, sample in samples.items()}
    figures = {f"auc/{name}": separability(z, each, seed) for name, each in drawn.items()}
    figures |= {f"log-density/{name}": _mean(density(z)) for name, density in densities.items()}
    if trained_on is not None:
        near = trained_on.draw(random)[:, 0]
        figures["distance-ratio"] = distance_ratio(drawn["flow-survey"], near, z, seed)
    return PriorFigures(figures | _asked(classifier, held_out, random), len(held_out))


def check_prior(classifier: Classifier, *held_out: Galaxies) -> None:
    """InputError where the model has no fitted prior, or galaxies are too few to measure it."""
    if not classifier.prior.fitted:
        raise InputError("This model has no latent prior; train it again with `morph pretrain`, which fits one.")
    if (count := sum(map(len, held_out))) < FEWEST:
        raise InputError(f"A prior cannot be measured on {count} galaxies; give {FEWEST} or more.")


def contact_sheet(classifier: Classifier, galaxies: Galaxies, rows: int = 4, seed: int = 0) -> "Figure":
    """Galaxies' reconstructions, and under them draws of the prior for the same survey and kind of image, decoded.

    Parameters
    ----------
    classifier : with a fitted prior.
    galaxies : the first of them are shown.
    rows : of eight, of either.
    seed : of the draws.
    """
    from morph.stamps.stretch import to_pictures
    from training.plots import contact_sheet as sheet

    n = 8 * rows
    real = Posteriors.of(classifier, galaxies.select(np.arange(len(galaxies)) < n), VIEWS[:1])
    noise = np.random.default_rng(seed).standard_normal((n, classifier.latent)).astype("float32")
    samples, _ = _priors(classifier, np.resize(real.conditions, (n, len(CONDITIONS))))
    stretched = [
        ops.convert_to_numpy(classifier.decoder(z)) for z in (real.gaussian()[0], samples["flow-survey"](noise))
    ]
    flux = [ops.convert_to_numpy(classifier.preprocessing.restore(each, 0.0, 1.0)) for each in stretched]
    captions = ["reconstructed"] * len(flux[0]) + ["drawn"] * n
    return sheet(
        to_pictures(np.concatenate(flux)),
        captions,
        title=f"{galaxies.survey}: reconstructions, then draws of the prior",
    )


def separability(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> Estimate:
    """How well a fresh classifier separates two samples: the area under its ROC curve over the folds.

    Parameters
    ----------
    real, drawn : [n, d] each; row i of both belongs to one galaxy, and stays in one fold.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold = np.random.default_rng(seed).permutation(len(real)) % FOLDS
    scores = np.empty((2, len(real)))
    for number in range(FOLDS):
        fit, held_out = fold != number, fold == number
        network = MLPClassifier(HIDDEN, alpha=1e-2, early_stopping=True, max_iter=40, random_state=seed)
        model = make_pipeline(StandardScaler(), network)
        with warnings.catch_warnings():
            # The number of iterations is chosen to be enough, and not more.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(np.concatenate([real[fit], drawn[fit]]), np.repeat([0, 1], fit.sum()))
        for row, sample in zip(scores, (real, drawn), strict=True):
            row[held_out] = model.predict_proba(sample[held_out])[:, 1]
    return auroc(scores[0], scores[1], seed=seed)


def distance_ratio(drawn: np.ndarray, trained_on: np.ndarray, held_out: np.ndarray, seed: int = 0) -> Estimate:
    """Median distance of draws to the nearest of some training galaxies, over that to the nearest held-out one.

    Both sets are cut to the same size at random, and every dimension counts by the standard deviation of the held-out
    galaxies.

    Parameters
    ----------
    drawn, trained_on, held_out : [n, d] each.
    seed : of the cut and of the bootstrap.
    """
    from sklearn.neighbors import NearestNeighbors

    random = np.random.default_rng(seed)
    n = min(len(trained_on), len(held_out))
    scale = held_out.std(axis=0) + 1e-6
    near = []
    for each in (trained_on, held_out):
        chosen = each[random.permutation(len(each))[:n]] / scale
        near.append(NearestNeighbors(n_neighbors=1, algorithm="brute").fit(chosen).kneighbors(drawn / scale)[0][:, 0])
    rows = random.integers(len(drawn), size=(500, len(drawn)))
    resampled = np.median(near[0][rows], axis=1) / np.median(near[1][rows], axis=1)
    return Estimate.of(np.median(near[0]) / np.median(near[1]), resampled, len(drawn))


def _priors(classifier: Classifier, conditions: np.ndarray) -> tuple[dict[str, Callable], dict[str, Callable]]:
    """Functions from noise to draws, and from z to log-densities, of every prior for these galaxies."""
    flow = classifier.prior
    given = {"flow": conditions, "flow-survey": only(conditions, "survey", "composite")}
    centre, scale, inverse = (ops.convert_to_numpy(w) for w in (flow.centre, flow.scale, flow.inverse))

    def normal(x: np.ndarray) -> np.ndarray:
        return -0.5 * np.square(x).sum(axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)

    samples: dict[str, Callable] = {name: _rows(flow.sample, each) for name, each in given.items()}
    samples |= {"gaussian": lambda x: x @ scale.T + centre, "normal": lambda x: x}
    densities: dict[str, Callable] = {name: _rows(flow.log_prob, each) for name, each in given.items()}
    densities["gaussian"] = lambda z: normal((z - centre) @ inverse.T) + np.log(np.diag(inverse)).sum()
    return samples, densities | {"normal": normal}


def only(conditions: np.ndarray, *names: str) -> np.ndarray:
    """The conditions with all columns but these set free."""
    kept = np.isin(CONDITIONS, names)
    return np.where(kept, conditions, np.nan).astype("float32")


def _rows(function: Callable, conditions: np.ndarray) -> Callable:
    """A function of tensors, with the conditions, as one of arrays that goes through some rows at a time."""

    def apply(values: np.ndarray) -> np.ndarray:
        starts = range(0, len(values), _ROWS)
        parts = [function(values[i : i + _ROWS], conditions[i : i + _ROWS]) for i in starts]
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])

    return apply


def _asked(classifier: Classifier, real: Posteriors, random: np.random.Generator) -> dict[str, Estimate]:
    """What the decoders read from draws, against each measurement that was asked for alone."""
    figures = {}
    for name, column in ASKED.items():
        names = MEASUREMENTS[columns_of(name)]
        known = np.isfinite(real.conditions[:, np.isin(CONDITIONS, names)]).all(axis=1)
        if known.sum() < FEWEST:
            continue
        conditions = only(real.conditions[known], *names, "survey", "composite")
        noise = random.standard_normal((known.sum(), classifier.latent)).astype("float32")
        z = _rows(classifier.prior.sample, conditions)(noise)
        mixtures = classifier.experts.measurements_from(z)
        means = [ops.sum(ops.exp(mixtures[key][0])[..., None] * mixtures[key][1], axis=1) for key in MEASURED]
        shown = restore(np.concatenate([ops.convert_to_numpy(mean) for mean in means], axis=1))[:, column]
        asked = real.conditions[known][:, CONDITIONS.index(MEASUREMENTS[column])]
        figures[f"asked/{name}"] = _scatter(_difference(name, shown, asked))
    return figures


def _difference(name: str, shown: np.ndarray, asked: np.ndarray) -> np.ndarray:
    if name == "radius":
        return np.log10(shown / asked)
    return (shown - asked) / (1 + asked) if name == "redshift" else shown - asked


def _scatter(difference: np.ndarray) -> Estimate:
    rows = np.random.default_rng(0).integers(len(difference), size=(500, len(difference)))
    return Estimate.of(sigma_mad(difference), sigma_mad(difference[rows]), len(difference))


def _mean(values: np.ndarray) -> Estimate:
    rows = np.random.default_rng(0).integers(len(values), size=(500, len(values)))
    return Estimate.of(values.mean(), values[rows].mean(axis=1), len(values))
