"""Rate and distortion: how well codes show a galaxy, for how many bytes, beside other ways of spending them.

Pictures are compared as 8-bit colour pictures, by the peak signal-to-noise ratio (PSNR) and the structural similarity
(SSIM: Wang et al. 2004, with windows of 7 by 7 pixels), whose medians over galaxies are printed. Images whose noise is
large cannot be coded well by anything; against the noiseless truth, which simulated galaxies have, a code that leaves
the noise out is better than the image itself.
"""

import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.code_files import BITS, NUMBERS, check_fitted, code_bytes, decode, encode
from morph.stamps.stretch import reconstruction_pictures, to_pictures
from training.evaluation.decoded import measure_decoded
from training.metrics.estimates import Estimate

if TYPE_CHECKING:
    from morph.model.classifier import Classifier
    from training.run import Run

#: The codes that are measured: numbers, and bits of each.
LENGTHS, DEPTHS = (8, 16, 32, 50, 64), (2, 4, 6, 8, 16)
#: The code that a user gets by default, whose pictures are measured as a galaxy's image is, too.
USUAL = (NUMBERS, BITS)
#: Galaxies that are measured at most, those that the principal components are fitted to, and the fewest of either.
MOST, TRAINED, FEWEST = 400, 2200, 20
#: Numbers of principal components that are stored in as many bytes.
COMPONENTS = (8, 25, 50, 64, 100)
#: Qualities of WebP.
QUALITIES = (0, 5, 20, 50)
#: Resamples of the bootstrap of a median.
RESAMPLES = 200


@dataclass(frozen=True)
class Point:
    """One way of storing a galaxy.

    Attributes
    ----------
    name : what it is.
    numbers, bits : of a code; 0 of anything else.
    bytes : a galaxy.
    psnr, ssim : against the image, decibels and up to 1: the medians.
    truth : PSNR against the noiseless truth; None where that is not known.
    """

    name: str
    numbers: int
    bits: int
    bytes: float
    psnr: Estimate
    ssim: Estimate
    truth: Estimate | None


@dataclass(frozen=True)
class RateDistortion:
    """What was measured.

    Attributes
    ----------
    points : the codes, and last the others.
    decoded : figures of the decoded images (see `training.evaluation.decoded`) of the usual code.
    note : what it was measured on.
    """

    points: list[Point]
    decoded: dict[str, Estimate]
    note: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        decoded = {name: asdict(figure) for name, figure in self.decoded.items()}
        return {"note": self.note, "points": [asdict(point) for point in self.points], "decoded": decoded}

    def log(self, run: "Run") -> None:
        """Put the usual code's figures into a run as metrics, all as a document, and the curve as a plot."""
        from training.evaluation.rate_distortion_report import curve

        usual = next(point for point in self.points if (point.numbers, point.bits) == USUAL)
        figures = {"psnr": usual.psnr, "ssim": usual.ssim, **self.decoded}
        run.log_metrics({f"codes/{name.replace(' ', '-')}": figure.value for name, figure in figures.items()})
        run.log_json(self.document(), "evaluation/rate-distortion.json")
        run.log_figure(curve(self), "plots/rate-distortion.png")


def measure_rate_distortion(
    classifier: "Classifier", galaxies: Galaxies, training: Galaxies, seed: int = 0
) -> RateDistortion:
    """Measure codes of all lengths, principal components of pictures, and WebP.

    Parameters
    ----------
    classifier : whose codes are measured.
    galaxies : the galaxies to measure on, already cut to their split.
    training : galaxies of the same kind to fit principal components to.
    seed : of the choice, where there are more than `MOST`, and of the bootstrap.

    Returns
    -------
    The figures.

    Raises
    ------
    InputError : the model has no components for codes, or there are fewer than `FEWEST` galaxies.
    """
    check_fitted(classifier)
    if len(galaxies) < FEWEST or len(training) < FEWEST:
        raise InputError(
            f"Rate and distortion are measured on {FEWEST} galaxies or more, beside as many in the training split for "
            f"the principal components; there are {len(galaxies)} and {len(training)}."
        )
    random = np.random.default_rng(seed)
    chosen = galaxies.select(np.sort(random.permutation(len(galaxies))[:MOST]))
    pictures = _Pictures(classifier, chosen, random)
    points = [
        _code(classifier, chosen, pictures, *code)
        for code in [*((numbers, bits) for numbers in LENGTHS for bits in DEPTHS), USUAL]
    ]
    fitted_to = training.select(np.sort(random.permutation(len(training))[:TRAINED]))
    points += _principal_components(to_pictures(classifier.central(fitted_to.images)), pictures)
    points += [_webp(pictures, quality) for quality in QUALITIES]
    # Answers and searches are measured on all.
    images = _decoded(classifier, galaxies, *USUAL)
    decoded = measure_decoded(classifier, galaxies, images, seed)
    return RateDistortion(points, decoded, _note(classifier, galaxies, chosen, fitted_to))


def _note(classifier: "Classifier", galaxies: Galaxies, chosen: Galaxies, fitted_to: Galaxies) -> str:
    size = classifier.size
    return (
        f"{len(chosen):,} of {len(galaxies):,} galaxies, {size}x{size} pixels in three colours of 8 bits; medians. "
        f"PCA: principal components of {len(fitted_to):,} pictures of the training split, one byte a number. Decoded "
        f"images: all galaxies, {code_bytes(*USUAL)} bytes each."
    )


class _Pictures:
    """The pictures that others are compared with.

    Parameters
    ----------
    classifier : for its view of the stamps.
    galaxies : their originals.
    random : of the bootstrap.
    """

    def __init__(self, classifier: "Classifier", galaxies: Galaxies, random: np.random.Generator):
        self.random = random
        self.images = classifier.central(galaxies.images)
        self.originals = to_pictures(self.images)
        self.truth = None
        if galaxies.simulated and galaxies.kind == "flux":
            from morph.simulation.sample import noiseless

            self.truth = self.shown(classifier.central(noiseless(galaxies)))

    def shown(self, images: np.ndarray) -> np.ndarray:
        """Images as pictures of the originals' white level."""
        return images if images.dtype == np.uint8 else reconstruction_pictures(self.images, images)

    def point(self, pictures: np.ndarray, name: str, size: float, numbers: int = 0, bits: int = 0) -> Point:
        """A way of storing galaxies.

        Parameters
        ----------
        pictures : what it gives back.
        name, size, numbers, bits : as for `Point`, `size` in bytes.
        """
        distortions = [psnr(self.originals, pictures), ssim(self.originals, pictures)]
        distortions += [] if self.truth is None else [psnr(self.truth, pictures)]
        figures = [self._median(values) for values in distortions]
        return Point(name, numbers, bits, size, figures[0], figures[1], figures[2] if len(figures) > 2 else None)

    def _median(self, values: np.ndarray) -> Estimate:
        rows = self.random.integers(len(values), size=(RESAMPLES, len(values)))
        return Estimate.of(np.median(values), np.median(values[rows], axis=1), len(values))


def psnr(originals: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of 8-bit pictures [n, s, s, 3], decibels: [n].

    >>> psnr(np.full((1, 8, 8, 3), 100, "uint8"), np.full((1, 8, 8, 3), 105, "uint8")).round().tolist()
    [34.0]
    """
    squared = np.square(originals.astype("float32") - others.astype("float32")).mean(axis=(1, 2, 3))
    # Rounding to 8 bits alone leaves a twelfth.
    return 10 * np.log10(255**2 / np.maximum(squared, 1 / 12))


def ssim(originals: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Structural similarity of 8-bit pictures [n, s, s, 3], the mean over colours: [n].

    >>> ssim(np.zeros((1, 8, 8, 3), "uint8"), np.zeros((1, 8, 8, 3), "uint8")).tolist()
    [1.0]
    """
    window, margin = 7, 3
    unbiased = window**2 / (window**2 - 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, size=(1, window, window, 1))

    a, b = originals.astype(float), others.astype(float)
    mean_a, mean_b = mean(a), mean(b)
    of_a, of_b = (unbiased * (mean(x * x) - m * m) for x, m in ((a, mean_a), (b, mean_b)))
    of_both = unbiased * (mean(a * b) - mean_a * mean_b)
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = (2 * mean_a * mean_b + first) * (2 * of_both + second)
    found = found / ((mean_a**2 + mean_b**2 + first) * (of_a + of_b + second))
    return found[:, margin:-margin, margin:-margin].mean(axis=(1, 2, 3))


def _decoded(classifier: "Classifier", galaxies: Galaxies, numbers: int, bits: int) -> np.ndarray:
    codes = encode(classifier, galaxies, numbers, bits)
    return decode(classifier, codes, numbers, galaxies.kind)[0]


def _code(classifier: "Classifier", galaxies: Galaxies, pictures: _Pictures, numbers: int, bits: int) -> Point:
    shown = pictures.shown(_decoded(classifier, galaxies, numbers, bits))
    return pictures.point(shown, f"{numbers} x {bits}", code_bytes(numbers, bits), numbers, bits)


def _principal_components(fitted_to: np.ndarray, pictures: _Pictures) -> list[Point]:
    """Principal components of pictures, each number as one byte between its extremes among those fitted to."""
    from sklearn.decomposition import PCA

    count = min(max(COMPONENTS), len(fitted_to) - 1)
    fit = PCA(count, svd_solver="randomized", random_state=0)
    train = fit.fit_transform(fitted_to.reshape(len(fitted_to), -1).astype("float32"))
    numbers = fit.transform(pictures.originals.reshape(len(pictures.originals), -1).astype("float32"))
    least, most = train.min(axis=0), train.max(axis=0)
    stored = np.rint(np.clip((numbers - least) / (most - least), 0, 1) * 255)
    numbers = least + stored / 255 * (most - least)
    found = []
    for k in COMPONENTS:
        if k <= count:
            flat = fit.mean_ + numbers[:, :k] @ fit.components_[:k]
            shown = np.rint(np.clip(flat, 0, 255)).astype("uint8").reshape(pictures.originals.shape)
            found.append(pictures.point(shown, f"PCA, {k}", k))
    return found


def _webp(pictures: _Pictures, quality: int) -> Point:
    sizes, shown = [], []
    for original in pictures.originals:
        file = io.BytesIO()
        Image.fromarray(original).save(file, "WEBP", quality=quality, method=6)
        sizes.append(file.tell())
        shown.append(np.asarray(Image.open(file).convert("RGB")))
    return pictures.point(np.stack(shown), f"WebP, quality {quality}", float(np.median(sizes)))
