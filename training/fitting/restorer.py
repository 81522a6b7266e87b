"""Fitting the restorer: pairs of simulated galaxies, noisy and blurred, and without noise at the target's resolution.

Every pair is made anew from a library of simulated scenes: turned, mirrored, moved, with other galaxies and stars
beside it, blurred by a point-spread function of random width and wings, with noise of random strength and
correlation, some of its pixels missing.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import keras
import numpy as np
import scipy.fft
from keras import ops
from scipy.ndimage import gaussian_filter

from morph.model.restoration import (
    GENTLE,
    SIGMA_OF_FWHM,
    STRONG,
    frequencies,
    moffat_radius,
    moffat_table,
    ratio,
    smooth,
)
from morph.model.restorer import SPECTRUM_BINS, SPECTRUM_END, Restorer
from morph.parallel import process_pool
from morph.simulation.canvas import Canvas
from morph.simulation.light import draw
from morph.simulation.population import draw_scene, get_mix
from morph.sizes import NARROWEST_PSF
from morph.surveys import get_survey
from training.fitting.checkpoint import EpochLines
from training.fitting.optimisation import MeanLoss, fit_part

#: Pixels on a side of a pair, and pairs in a batch.
SIZE, BATCH = 64, 32
#: Scenes in the library, and those held out.
SCENES, HELD_OUT = 2400, 160
#: Half-light radii of its scenes, pixels.
RADII = (1.2, 13.0)
#: Ranges of the signal to noise, of the width of point-spread functions, pixels, and of the slope of their wings.
SIGNAL, WIDTHS, SLOPES = (4.0, 600.0), (2.2, 7.0), (2.3, 5.0)
#: Shares of pairs that are only denoised, whose noise is correlated, and that lack pixels.
DENOISED, CORRELATED, MASKED = 0.45, 0.4, 0.2
#: Weight of the uncertainty's likelihood beside the error's logarithm.
LIKELIHOOD = 0.3
#: The share of a normal distribution within one sigma.
WITHIN_ONE_SIGMA = 0.6827
#: An error, units of the noise, that is as good as none.
NEGLIGIBLE = 0.02
#: Fluxes are those within Gaussians of this many pixels, their errors in units of the noise's; the weight of their
#: logarithm, and a mean square that is as good as none.
FLUX_WIDTH, FLUX, FLUX_NEGLIGIBLE = 5.0, 0.5, 0.05


def scene_spectrum(seed: int, index: int) -> np.ndarray:
    """The light of a simulated galaxy before any blurring, of unit flux: complex64 [`SIZE`, `SIZE` / 2 + 1].

    Parameters
    ----------
    seed, index : of the library, and of the scene in it.
    """
    random = np.random.default_rng([seed, index])
    scene = draw_scene(random, get_survey("des"), get_mix("balanced" if random.random() < 0.6 else "survey"))
    pixels = np.exp(random.uniform(*np.log(RADII)))
    canvas = Canvas(SIZE, scene.radius / pixels, 2)
    x, y = random.uniform(-0.5, 0.5, 2) * canvas.scale
    spectrum = draw(scene, canvas, x, y)[random.integers(3)]
    return (spectrum / max(abs(spectrum[0, 0]), 1e-12)).astype("complex64")


def scene_library(seed: int, count: int, processes: int = 2) -> np.ndarray:
    """`scene_spectrum` of several scenes: complex64 [count, `SIZE`, `SIZE` / 2 + 1].

    Parameters
    ----------
    seed : of the library.
    count : of scenes.
    processes : that draw them.
    """
    tasks = [(seed, range(start, min(start + 64, count))) for start in range(0, count, 64)]
    if processes == 1 or len(tasks) == 1:
        return np.concatenate([_scenes(task) for task in tasks])
    with process_pool(processes) as pool:
        return np.concatenate(list(pool.map(_scenes, tasks)))


def _scenes(task: tuple[int, range]) -> np.ndarray:
    seed, indices = task
    return np.stack([scene_spectrum(seed, index) for index in indices])


@cache
def _radial() -> np.ndarray:
    return 2 * np.pi * frequencies(SIZE, SIZE)[:, : SIZE // 2 + 1]


def _scene(library: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A scene of the library with what stands beside it, turned and moved: a spectrum."""
    spectrum = library[random.integers(len(library))].copy()
    for _ in range(random.poisson(0.8)):
        flux = np.exp(random.uniform(np.log(0.03), np.log(1.5)))
        beside = library[random.integers(len(library))] if random.random() < 0.7 else _point()
        spectrum += flux * beside * _moved(*random.uniform(-28, 28, 2))
    if random.random() < 0.4:
        spectrum *= _moved(*random.uniform(-20, 20, 2))
    return spectrum


@cache
def _point() -> np.ndarray:
    """A star in the middle."""
    return _moved(SIZE / 2, SIZE / 2)


def _moved(x: float, y: float) -> np.ndarray:
    ky, kx = scipy.fft.fftfreq(SIZE), scipy.fft.rfftfreq(SIZE)
    return (np.exp(-2j * np.pi * ky * y)[:, None] * np.exp(-2j * np.pi * kx * x)).astype("complex64")


def pair(library: np.ndarray, random: np.random.Generator, transfers: bool = False) -> dict[str, np.ndarray]:
    """One pair, in units of the noise.

    Parameters
    ----------
    library : as `scene_library` gives it.
    random : random numbers.
    transfers : whether the transfer functions are wanted too.

    Returns
    -------
    dict: ``data``, ``valid``, ``gentle``, ``strong`` and ``truth`` [`SIZE`, `SIZE`]; ``widths`` [2], as
    `morph.model.restorer.Restorer.estimate` takes them; and ``psf`` and ``target``, real [`SIZE`, `SIZE`].
    """
    scene, fwhm = _scene(library, random), random.uniform(*WIDTHS)
    beta = round(random.uniform(*SLOPES), 1)
    psf = np.interp(_radial() * moffat_radius(fwhm, beta), *moffat_table(beta))
    sharpened = random.random() > DENOISED and 0.92 * fwhm > NARROWEST_PSF
    blurred = scipy.fft.irfft2(scene * psf, s=(SIZE, SIZE))
    truth, starts, target_fwhm, target = blurred, None, fwhm, psf
    if sharpened:
        target_fwhm = np.exp(random.uniform(np.log(max(NARROWEST_PSF, 0.3 * fwhm)), np.log(0.92 * fwhm)))
        target = np.exp(-0.5 * (_radial() * target_fwhm * SIGMA_OF_FWHM) ** 2)
        truth = scipy.fft.irfft2(scene * target, s=(SIZE, SIZE))
        # A flip turns the images, not the profiles, which are round.
        starts = [ratio((psf, 0.0), target, floor)[0] for floor in (GENTLE, STRONG)]
    strength = np.exp(random.uniform(*np.log(SIGNAL))) / np.sqrt((blurred**2).sum())
    noise = random.standard_normal((SIZE, SIZE))
    if random.random() < CORRELATED:
        noise = gaussian_filter(noise, np.exp(random.uniform(np.log(0.3), np.log(1.2))), mode="wrap")
        noise /= noise.std()
    # What is left of the sky is the image's, and stays.
    sky = random.normal(0, 0.05)
    data = strength * blurred + noise + sky
    valid = _valid(random) if random.random() < MASKED else np.ones_like(data)
    made = _turned(random, data * valid, valid, strength * truth + sky, starts, [fwhm, target_fwhm / fwhm])
    return {**made, **({"psf": _whole(psf), "target": _whole(target)} if transfers else {})}


def _whole(half: np.ndarray) -> np.ndarray:
    """A real and even transfer function from the half that a real transform keeps."""
    return np.concatenate([half, half[:, -2:0:-1]], axis=1).astype("float32")


def _turned(random, data, valid, truth, starts, widths) -> dict[str, np.ndarray]:
    """The pair, turned and mirrored at random, its missing pixels filled and itself sharpened."""
    turns, mirrored = random.integers(4), random.random() < 0.5

    def turn(image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, turns)
        return (image[:, ::-1] if mirrored else image).astype("float32")

    data, valid, truth = map(turn, (data, valid, truth))
    data = fill(data, valid)
    gentle = strong = data
    if starts is not None:
        spectrum = scipy.fft.rfft2(data)
        gentle, strong = (scipy.fft.irfft2(spectrum * start, s=(SIZE, SIZE)).astype("float32") for start in starts)
    known = random.random() < 0.85 or starts is not None
    widths = np.array([widths[0] if known else 0.0, widths[1]], dtype="float32")
    return {"data": data, "valid": valid, "gentle": gentle, "strong": strong, "truth": truth, "widths": widths}


def fill(data: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Missing pixels as the mean of those around them, by a Gaussian of 2 pixels; see `morph.model.restore`."""
    if valid.all():
        return data
    around = gaussian_filter(data * valid, 2.0, mode="reflect") / np.maximum(
        gaussian_filter(valid, 2.0, mode="reflect"), 1e-3
    )
    return np.where(valid > 0, data, around).astype("float32")


def _valid(random: np.random.Generator) -> np.ndarray:
    """A mask with bad pixels, a bad column or a corner that is missing."""
    valid = np.ones((SIZE, SIZE))
    kind = random.integers(3)
    if kind == 0:
        valid[random.random(valid.shape) < random.uniform(0.001, 0.03)] = 0
    elif kind == 1:
        start = random.integers(SIZE)
        valid[:, start : start + random.integers(1, 4)] = 0
    else:
        y, x, radius = *random.uniform(0, SIZE, 2), random.uniform(1, 9)
        valid[np.hypot(*(np.indices(valid.shape) - np.array([y, x])[:, None, None])) < radius] = 0
    return valid


class Pairs(keras.utils.PyDataset):
    """Batches of pairs."""

    def __init__(self, library: np.ndarray, seed: int, batches: int, batch: int = BATCH, **options):
        super().__init__(**options)
        self.library, self.seed, self.batches, self.batch, self.epoch = library, seed, batches, batch, 0
        self.transfers = False

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int):
        random = np.random.default_rng([self.seed, self.epoch, index])
        made = [pair(self.library, random, self.transfers) for _ in range(self.batch)]
        inputs = {name: np.stack([each[name] for each in made]) for name in made[0]}
        return inputs, inputs["widths"]

    def on_epoch_end(self) -> None:
        self.epoch += 1


class PairLoss(MeanLoss):
    """The logarithms of each image's mean square error and of that of its fluxes, and the likelihood of the errors
    under the uncertainties."""

    def __init__(self, restorer: Restorer):
        super().__init__()
        self.restorer = restorer
        self.built = True

    def build(self, input_shape=None):
        """The restorer is built already."""

    def save_own_variables(self, store) -> None:
        """Hold the restorer's weights, which a restorer leaves out of files of models."""
        for number, weight in enumerate(self.restorer.weights):
            store[f"{number}"] = ops.convert_to_numpy(weight)

    def load_own_variables(self, store) -> None:
        for number, weight in enumerate(self.restorer.weights):
            weight.assign(store[f"{number}"])

    def call(self, given, training=False):
        starts = given["gentle"], given["strong"]
        found, sigma = self.restorer.estimate(given["data"], given["valid"], starts, given["widths"])
        error = (found - given["truth"]) * given["valid"]
        mean_square = ops.mean(ops.square(error), axis=(1, 2))
        # Faint wings hold flux and hardly show in the error of pixels.
        fluxes = ops.mean(ops.square(smooth(error, FLUX_WIDTH)), axis=(1, 2)) * (4 * np.pi * FLUX_WIDTH**2)
        scaled = ops.square(ops.stop_gradient(error) / sigma)
        # Beyond five sigma a Gaussian is no description of what a network gets wrong.
        surprise = ops.where(scaled < 25.0, scaled, 10.0 * ops.sqrt(scaled) - 25.0)
        likelihood = ops.mean((0.5 * surprise + ops.log(sigma)) * given["valid"], axis=(1, 2))
        pixels = 0.5 * ops.log(mean_square + NEGLIGIBLE**2)
        return pixels + FLUX * 0.5 * ops.log(fluxes + FLUX_NEGLIGIBLE) + LIKELIHOOD * likelihood


def fit_restorer(
    restorer: Restorer,
    seed: int = 0,
    epochs: int = 55,
    batches: int = 100,
    scenes: tuple[int, int] = (SCENES, HELD_OUT),
    rate: float = 1.5e-3,
    processes: int = 2,
    checkpoint: Path | None = None,
) -> list[float]:
    """Fit a restorer in place; the epoch that is best on held-out scenes is kept.

    Parameters
    ----------
    restorer : fitted from what it is.
    seed : of scenes and pairs.
    epochs, batches : how long; an epoch is so many batches of `BATCH` pairs.
    scenes : how many are trained on, and held out.
    rate : the highest learning rate.
    processes : that simulate the scenes.
    checkpoint : a folder; a fit that finds its own unfinished state there goes on from it.

    Returns
    -------
    The loss of the held-out pairs after each epoch.
    """
    keras.utils.set_random_seed(seed)
    library, held_out = (scene_library(seed + k, count, processes) for k, count in enumerate(scenes))
    watched = [each for each, _ in _batches(Pairs(held_out, seed + 1, max(1, scenes[1] // BATCH)))]
    validation = {name: np.concatenate([each[name] for each in watched]) for name in watched[0]}
    loss = fit_part(
        restorer,
        PairLoss(restorer),
        Pairs(library, seed, batches),
        validation,
        epochs,
        epochs,
        rate,
        weight_decay=1e-5,
        checkpoint=checkpoint,
        callbacks=[] if checkpoint is None else [EpochLines("Restorer", epochs)],
    )
    calibrate(restorer, held_out, seed + 2, batches=max(2, scenes[1] // 6))
    return loss


def _batches(pairs: Pairs) -> Iterator:
    return (pairs[index] for index in range(len(pairs)))


def calibrate(restorer: Restorer, library: np.ndarray, seed: int, batches: int = 24) -> None:
    """Fit how wide the uncertainties are, so that 68 % of the errors lie within them, and how errors are correlated.

    Parameters
    ----------
    restorer : trained, and changed in place.
    library : held-out scenes, as `scene_library` gives them.
    seed, batches : of the pairs that are restored.
    """
    restorer.calibration.assign(np.ones(2))
    pairs = Pairs(library, seed, batches)
    pairs.transfers = True
    scaled: dict[bool, list[np.ndarray]] = {False: [], True: []}
    power, count = np.zeros(SPECTRUM_BINS), np.zeros(SPECTRUM_BINS)
    for given, _ in _batches(pairs):
        seen = given["valid"] > 0
        flux = np.where(seen, given["data"], np.nan).astype("float32")
        psf = given["psf"], np.zeros_like(given["psf"])
        found = restorer.restore(flux, np.ones(len(flux), "float32"), psf, given["target"], given["widths"])
        restored, sigma = (ops.convert_to_numpy(found[name]) for name in ("restored", "sigma"))
        error = np.where(seen, (restored - given["truth"]) / sigma, 0)
        for sharpened in scaled:
            rows = (given["widths"][:, 1] < 1) == sharpened
            scaled[sharpened].append(np.abs(error[rows])[seen[rows]][::7])
        for each, (fwhm, relative) in zip(error, given["widths"], strict=True):
            if fwhm > 0:
                place = frequencies(SIZE, SIZE) * fwhm * relative / SPECTRUM_END * SPECTRUM_BINS
                inside = place < SPECTRUM_BINS
                squared = np.abs(np.fft.fft2(each / max(each.std(), 1e-9))) ** 2 / each.size
                power += np.bincount(place[inside].astype(int), squared[inside], SPECTRUM_BINS)
                count += np.bincount(place[inside].astype(int), minlength=SPECTRUM_BINS)
    restorer.calibration.assign(
        [np.quantile(np.concatenate(scaled[kind]), WITHIN_ONE_SIGMA) for kind in (False, True)]
    )
    restorer.error_spectrum.assign(power / np.maximum(count, 1))
    restorer.is_fitted.assign(1.0)
