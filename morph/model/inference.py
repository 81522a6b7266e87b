"""Any modality from any other: the posterior of z given some modalities, and predictions of the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from keras import ops

from morph.decision_tree import ANSWERS, VOTE_COLUMNS, question_membership
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import SURVEY, encode_conditions
from morph.model.experts import MEASUREMENTS, MODALITIES, bounded, columns_of, product, restore, transform

#: Sums over the answers of the question that each answer belongs to: [answers, answers].
_OF_QUESTION = question_membership(ANSWERS) @ question_membership(ANSWERS).T
#: Rows of z that go through a network at a time.
_ROWS = 65536


@dataclass(frozen=True)
class Inferred:
    """The posterior of z of every galaxy, and samples from it.

    Attributes
    ----------
    mean, variance : of the Gaussian posterior, [n, d].
    classifier : the model that z belongs to.
    measurements : those that are given, as `morph.model.experts.transform` gives them; NaN where they are not, [n, 5].
    conditions : what is given beside the image (`morph.model.conditions`), [n, conditions].
    free : of which galaxies nothing is given, bool [n]. Their z is drawn from the latent prior, where the model has
        one; `mean` and `variance` remain those of the product of experts, N(0, 1).
    draws, seed : the number of samples of every quantity, and their random seed.
    """

    mean: np.ndarray
    variance: np.ndarray
    classifier: Classifier
    measurements: np.ndarray
    conditions: np.ndarray
    free: np.ndarray
    draws: int = 256
    seed: int = 0

    @property
    def redshift(self) -> np.ndarray:
        """Samples of the redshift from the posterior predictive distribution, [n, draws]."""
        return self._measurements[..., MEASUREMENTS.index("redshift")]

    @property
    def radius(self) -> np.ndarray:
        """Samples of the half-light radius in arcsec, [n, draws]."""
        return self._measurements[..., MEASUREMENTS.index("radius")]

    @property
    def photometry(self) -> np.ndarray:
        """Samples of the magnitudes in g, r, i, [n, draws, 3]."""
        return self._measurements[..., columns_of("photometry")]

    @cached_property
    def concentration(self) -> np.ndarray:
        """Dirichlet concentrations of the votes, [n, answers].

        The Dirichlet has the mean of those at every sample of z and, summed over a question's answers, their variance.
        """
        each = self._sampled(lambda z, given: self.classifier.experts.votes_from(z))
        total = each @ _OF_QUESTION
        fractions = each / total
        mean = fractions.mean(axis=1)
        spread = (fractions * (1 - fractions) / (total + 1)).mean(axis=1) + fractions.var(axis=1)
        room, spread = (mean * (1 - mean)) @ _OF_QUESTION, spread @ _OF_QUESTION
        return (mean * np.maximum(room / np.maximum(spread, 1e-9) - 1.0, 1e-3)).astype("float32")

    def image(self) -> np.ndarray:
        """The galaxies reconstructed from the posterior's mean: float32 [n, size, size, 3], stretched, the
        sky at 0 and the central brightness at 1."""
        mean = self.mean
        if self.free.any() and self.classifier.prior.fitted:
            mean = np.where(self.free[:, None], self._sampled(lambda z, given: z).mean(axis=1), mean)
        parts = [
            ops.convert_to_numpy(self.classifier.decoder(mean[rows], training=False))
            for rows in _chunks(len(mean), 256)
        ]
        return np.concatenate(parts)

    @cached_property
    def _measurements(self) -> np.ndarray:
        """Samples of all measurements, [n, draws, 5]."""
        random = np.random.default_rng([self.seed, 1])

        def sample(z, given) -> np.ndarray:
            found = []
            for mixture in self._mixtures(z, *given).values():
                log_weight, mean, log_sigma = (ops.convert_to_numpy(part) for part in mixture)
                edges = np.cumsum(np.exp(log_weight), axis=1)
                chosen = (random.random((len(edges), 1)) > edges[:, :-1]).sum(axis=1)
                rows = np.arange(len(edges))
                mean, sigma = mean[rows, chosen], np.exp(log_sigma[rows, chosen])
                found.append(mean + sigma * random.standard_normal(mean.shape))
            return np.concatenate(found, axis=1)

        return restore(self._sampled(sample))

    def _mixtures(self, z, measurements, survey) -> dict[str, tuple]:
        """The distribution of each measured modality given z, and given the rest where the model can read it."""
        if self.classifier.measurements.fitted:
            return self.classifier.measurements(z, measurements, survey)
        return self.classifier.experts.measurements_from(z)

    def _sampled(self, function: Callable) -> np.ndarray:
        """`function` of every sample of z, and of the given measurements and surveys beside it: [n, draws, ...]."""
        random = np.random.default_rng(self.seed)
        parts = []
        for rows in _chunks(len(self.mean), max(1, _ROWS // self.draws)):
            known = self.measurements[rows], self.conditions[rows, SURVEY]
            given = [np.repeat(each, self.draws, axis=0) for each in known]
            z = self._draw(rows, random.standard_normal((len(self.mean[rows]), self.draws, self.mean.shape[-1])))
            values = ops.convert_to_numpy(function(z.reshape(-1, z.shape[-1]), given))
            parts.append(values.reshape(len(z), self.draws, -1))
        return np.concatenate(parts)

    def _draw(self, rows: slice, noise: np.ndarray) -> np.ndarray:
        """Samples of z of some galaxies from noise [n, draws, d]: float32 of the same shape."""
        z = (self.mean[rows, None] + np.sqrt(self.variance[rows, None]) * noise).astype("float32")
        free = self.free[rows]
        if free.any() and self.classifier.prior.fitted:
            conditions = np.repeat(self.conditions[rows][free], self.draws, axis=0)
            drawn = self.classifier.prior.sample(noise[free].reshape(-1, z.shape[-1]).astype("float32"), conditions)
            z[free] = ops.convert_to_numpy(drawn).reshape(-1, self.draws, z.shape[-1])
        return z


def infer(
    classifier: Classifier,
    given: Mapping[str, np.ndarray],
    draws: int = 256,
    seed: int = 0,
    surveys: Iterable[str] | None = None,
) -> Inferred:
    """Infer z from any of the modalities.

    Parameters
    ----------
    given : any of ``image`` (stamps as `Classifier.answer` takes them; one without data is missing), ``votes``
        [n, vote columns] (NaN = not asked), ``photometry`` [n, 3] (magnitudes in g, r, i), ``radius`` [n] (arcsec) and
        ``redshift`` [n]. A row with NaN lacks that modality; one that lacks all has the prior.
    draws, seed : the number of samples from the posterior, and their random seed.
    surveys : the galaxies' surveys, [n]: surveys differ in how bright and how distant their galaxies are.

    Returns
    -------
    `Inferred`, one row a galaxy.

    Raises
    ------
    InputError : nothing is given, a modality is unknown, or the modalities differ in length.
    """
    unknown = [name for name in given if name not in MODALITIES]
    if unknown or not given:
        what = f"'{unknown[0]}' is not a modality" if unknown else "Nothing is given"
        raise InputError(f"{what}; give any of {', '.join(MODALITIES)}.")
    lengths = {len(values) for values in given.values()}
    if len(lengths) != 1:
        raise InputError(f"The modalities hold {sorted(lengths)} galaxies; give the same galaxies to each.")
    (n,) = lengths
    votes = np.nan_to_num(np.asarray(given.get("votes", np.zeros((n, len(VOTE_COLUMNS)))), dtype="float32"))
    measured = np.full((n, len(MEASUREMENTS)), np.nan, dtype="float32")
    for name in ("photometry", "radius", "redshift"):
        if name in given:
            measured[:, columns_of(name)] = np.reshape(given[name], (n, -1))
    known = transform(measured)
    means, log_variances, present = classifier.experts(votes, known)
    shape = (n, classifier.latent)
    image = {"mean": np.zeros(shape, "float32"), "log_variance": np.zeros(shape, "float32"), "seen": np.zeros((n, 1))}
    if "image" in given:
        image = classifier.image_expert(given["image"])
    present = np.concatenate([image["seen"], ops.convert_to_numpy(present)], axis=1).astype("float32")
    mean, log_variance = product([image["mean"], *means], [bounded(image["log_variance"]), *log_variances], present)
    variance = np.exp(ops.convert_to_numpy(log_variance))
    conditions = encode_conditions(n, votes, measured, surveys)
    free = present.sum(axis=1) == 0
    return Inferred(ops.convert_to_numpy(mean), variance, classifier, known, conditions, free, draws, seed)


def _chunks(n: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, n, rows))
