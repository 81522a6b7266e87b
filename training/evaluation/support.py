"""How many different galaxies a model draws (the birthday test of Arora & Zhang 2017), and whether it copies.

Among s draws from N galaxies that are equally likely, s (s - 1) / 2N pairs are expected to show one galaxy twice. So
the pairs that do, counted among some thousand samples, measure N: the inverse of the chance that two samples are the
same. No fewer galaxies can be drawn at all.

Two samples are never equal pixel by pixel. What counts as one galaxy is learned from galaxies outside the training,
each observed twice: other noise, and a stamp cut a little off. Directions of the embedding count by how much more
galaxies differ in them than observations of one do (Fisher 1936), and a threshold is the distance that a share of the
second observations stays below. How many of them it truly finds is measured on galaxies that did not set it, and the
pairs of different galaxies that it takes for one are counted beside the samples'. A low share gives the better bound,
a high one more pairs, so that real galaxies and samples, and one seed and another, can be compared.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.ndimage import affine_transform
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.fits.resampling import resample
from morph.model.classifier import Classifier
from morph.simulation.observe import correlate
from morph.simulation.sampling.draw import BATCH, Sampler
from morph.stamps.signal_to_noise import border
from morph.surveys import Survey, get_survey
from morph.training_record import TrainingRecord
from training.evaluation.prior import distance_ratio
from training.metrics.estimates import Estimate

#: Galaxies outside the training that the threshold needs.
FEWEST = 100
#: How far the centre of a second observation is off, pixels, and the logarithm of its size; standard deviations.
SHIFT, ZOOM = 0.25, 0.02
#: Shares of second observations that thresholds are set to find: for the bound, and to compare.
STRICT, LOOSE = 0.5, 0.9
#: Rows of pairs that are compared at a time.
_ROWS = 1024


@dataclass(frozen=True)
class Likeness:
    """When two embeddings are of one galaxy.

    Attributes
    ----------
    directions : [d, d], along which distances are measured.
    threshold : distance below which two are one galaxy.
    found : the share of second observations that are closer, among galaxies that did not set it.
    """

    directions: np.ndarray
    threshold: float
    found: float

    @classmethod
    def fit(cls, first: np.ndarray, second: np.ndarray, share: float) -> "Likeness":
        """Learn it from two observations of the same galaxies: half of them set the directions, a quarter sets the
        threshold, and a quarter says what it finds.

        Parameters
        ----------
        first, second : their embeddings, [n, d] each.
        share : of the second observations, to be found.
        """
        number = np.arange(len(first)) % 4
        fitted, off = number < 2, first - second
        scale = first[fitted].std(axis=0) + 1e-9
        # Shrunk towards equal scatter in all directions, as much as so few galaxies ask for (Ledoit & Wolf 2004).
        within, _ = ledoit_wolf(off[fitted] / scale / np.sqrt(2), assume_centered=True)
        # Along these, observations of one galaxy scatter by 1.
        directions = eigh(np.cov((first[fitted] / scale).T), within)[1] / scale[:, None]
        distance = np.linalg.norm(off @ directions, axis=1)
        threshold = float(np.quantile(distance[number == 2], share))
        return cls(directions, threshold, float(np.mean(distance[number == 3] < threshold)))

    def support(self, embeddings: np.ndarray) -> "Support":
        """Count the pairs of embeddings [n, d] that are of one galaxy."""
        places = (embeddings @ self.directions).astype("float32")
        squared, close = np.square(places).sum(axis=1), 0
        for start in range(0, len(places), _ROWS):
            rows = slice(start, start + _ROWS)
            near = squared[rows, None] + squared - 2 * places[rows] @ places.T < self.threshold**2
            close += int(np.triu(near, start + 1).sum())
        return Support(len(places) * (len(places) - 1) // 2, close, self.found)


@dataclass(frozen=True)
class Support:
    """How many galaxies some are spread over.

    Attributes
    ----------
    pairs, close : pairs that were compared, and those that are taken for one galaxy.
    found : the share of pairs of one galaxy that are.

    >>> support = Support(pairs=1_000_000, close=10, found=0.5)
    >>> support.value, round(support.low)
    (50000.0, 29477)
    """

    pairs: int
    close: int
    found: float

    @property
    def value(self) -> float:
        """The inverse of the chance that two are one galaxy; infinite where no pair is."""
        return self.found * self.pairs / self.close if self.close else np.inf

    @property
    def low(self) -> float:
        """What it exceeds with a probability of 95 %, the number of close pairs being Poisson's."""
        return float(self.found * self.pairs / (chi2.ppf(0.95, 2 * (self.close + 1)) / 2))


@dataclass(frozen=True)
class Counts:
    """Pairs of one galaxy among the samples of every seed and among real galaxies, by one threshold."""

    drawn: tuple[Support, ...]
    real: Support

    @property
    def support(self) -> Support:
        """Of the samples of all seeds; pairs are those within a seed."""
        return Support(sum(each.pairs for each in self.drawn), sum(each.close for each in self.drawn), self.real.found)

    def __str__(self) -> str:
        close = ", ".join(f"{each.close:,}" for each in self.drawn)
        return (
            f"threshold that finds {self.real.found:.0%} of second observations: {close} of {self.drawn[0].pairs:,} "
            f"pairs by seed are one galaxy; support {self.support.value:.3g}, above {self.support.low:.3g} with a "
            f"probability of 95 %; of real galaxies {self.real.close:,} of {self.real.pairs:,}, {self.real.value:.3g}"
        )


@dataclass(frozen=True)
class Diversity:
    """What `measure_diversity` measures.

    Attributes
    ----------
    strict, loose : by the thresholds of `STRICT` and `LOOSE`.
    trained_on : galaxies in the model's training; 0 where it has no record.
    copying : median distance of a sample's embedding to the nearest training galaxy over that to the nearest galaxy
        outside the training; below 1 where training galaxies are copied. None without training galaxies.
    """

    strict: Counts
    loose: Counts
    trained_on: int
    copying: Estimate | None

    def lines(self) -> list[str]:
        """One line a figure."""
        lines = [str(self.strict), str(self.loose)]
        values = [each.value for each in self.loose.drawn]
        lines.append(f"seeds differ by {max(values) / min(values) - 1:.0%}" if np.isfinite(values).all() else "")
        if self.trained_on:
            times = self.strict.support.low / self.trained_on
            lines.append(f"support over the training set of {self.trained_on:,}: above {times:.1f}")
        if self.copying:
            ratio, low, high = self.copying.value, self.copying.low, self.copying.high
            lines.append(f"distance to training over other galaxies: {ratio:.3f} ({low:.3f} to {high:.3f})")
        return list(filter(None, lines))


def measure_diversity(
    classifier: Classifier,
    sampler: Sampler,
    held_out: Galaxies,
    trained_on: Galaxies | None = None,
    n: int = 4096,
    seeds: tuple[int, ...] = (0, 1, 2),
    judge: Classifier | None = None,
) -> Diversity:
    """Measure how many galaxies a sampler draws from, and whether they are copies of training galaxies.

    Parameters
    ----------
    classifier : the model that draws.
    sampler : draws galaxies with noise, so that they are seen as well as others.
    held_out : fluxes of the same survey outside the training, which say when two are one galaxy.
    trained_on : fluxes of the training.
    n, seeds : samples of each seed.
    judge : the model whose embedding compares; the one that draws if not given.

    Raises
    ------
    InputError : there are fewer than `FEWEST` galaxies outside the training, or they are not fluxes.
    """
    if held_out.kind != "flux" or len(held_out) < FEWEST:
        raise InputError(
            f"A birthday test needs {FEWEST} fluxes outside the training to set its threshold; "
            f"'{held_out.about.get('path')}' has {len(held_out)} of {held_out.kind}."
        )
    judge = judge or classifier

    def embed(images: np.ndarray) -> np.ndarray:
        return judge.image_expert(images)["mean"].astype(float)

    random = np.random.default_rng(seeds[0])
    first, second = (embed(observed_again(held_out, random)) for _ in range(2))
    drawn = [
        np.concatenate([embed(_images(sampler, seed, number, n)) for number in range(-(-n // BATCH))])
        for seed in seeds
    ]
    real, copying = embed(held_out.images), None
    if trained_on is not None:
        copying = distance_ratio(np.concatenate(drawn), embed(trained_on.images), real)
    record = TrainingRecord.from_text(classifier.seen).galaxies
    number = sum(len(record.get(role, ())) for role in ("labelled", "unlabelled"))

    def counted(share: float) -> Counts:
        likeness = Likeness.fit(first, second, share)
        return Counts(tuple(likeness.support(each) for each in drawn), likeness.support(real))

    return Diversity(counted(STRICT), counted(LOOSE), number, copying)


def _images(sampler: Sampler, seed: int, number: int, n: int) -> np.ndarray:
    """The stamps of one batch of `n` samples in all."""
    table = sampler.batch(seed, number, min(BATCH, n - number * BATCH))
    return Galaxies.from_table(table, "sampled").images


def observed_again(galaxies: Galaxies, random: np.random.Generator) -> np.ndarray:
    """Stamps of galaxies as another observation would give them: float32 of the shape of their images.

    Noise as strong as theirs is added, as correlated as the survey's. Two such stamps differ as two observations do,
    and each is noisier than one.

    Parameters
    ----------
    galaxies : of fluxes.
    random : of the noise, and of centre and size.
    """
    made = np.empty(galaxies.images.shape, dtype="float32")
    scales = galaxies.properties["pixel_scale"].tolist()
    for place, (image, survey, scale) in enumerate(zip(galaxies.images, galaxies.surveys, scales, strict=True)):
        middle = (len(image) - 1) / 2
        zoom = np.exp(ZOOM * random.standard_normal())
        off = middle * (1 - zoom) + SHIFT * random.standard_normal(2)
        for band in range(image.shape[-1]):
            plane = np.nan_to_num(image[..., band])
            made[place, ..., band] = affine_transform(plane, np.full(2, zoom), off, order=1, mode="reflect")
        made[place] += _noise(len(image), get_survey(survey), scale, random) * border(image[None])[1][0]
    return made


def _noise(size: int, survey: Survey, scale: float, random: np.random.Generator) -> np.ndarray:
    """Noise of a survey's pixels, resampled to a stamp, with a standard deviation of 1: [size, size, 3]."""
    step = survey.pixel_scale / scale if scale > 0 else 1.0
    count = int(np.ceil(size / step)) + 4
    white = random.standard_normal((count, count, 3), dtype="float32")
    if survey.noise_correlation:
        white = correlate(white, survey.noise_correlation)
    noise = resample(white, (count - 1) / 2, (count - 1) / 2, size / step, size)
    return noise / noise.std(axis=(0, 1))
