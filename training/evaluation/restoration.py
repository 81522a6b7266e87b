"""How well images are restored: simulated galaxies whose truth is known, and the figures of merit.

The galaxies are GalSim's (Rowe et al. 2015): a de Vaucouleurs bulge, an exponential disk and knots of star formation,
on stamps like those of DES. The restorer is trained on other galaxies, drawn by other code.
"""

from dataclasses import dataclass

import galsim
import numpy as np
from scipy.ndimage import gaussian_filter

from morph.model.restoration import SIGMA_OF_FWHM

#: Pixels on a side, arcsec a pixel, and the radius in arcsec within which fluxes are compared.
SIZE, PIXEL_SCALE, APERTURE = 64, 0.263, 5.0
#: Full width at half maximum of the point-spread function, a Moffat profile, and of the target, a Gaussian; arcsec.
SEEING, TARGET = 0.95, 0.53
#: Signal to noise of a matched filter.
SIGNALS = (20, 60, 200)


@dataclass(frozen=True)
class Truths:
    """Galaxies as they are observed without noise, and at the target's resolution.

    Attributes
    ----------
    blurred, sharp : [n, size, size], any unit of flux.
    seeing, beta, target : of the point-spread functions, as for `draw_truths`.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    seeing: float = SEEING
    beta: float = 3.0
    target: float = TARGET

    def observed(self, signal: float, seed: int, correlation: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Images with noise.

        Parameters
        ----------
        signal : signal to noise of a matched filter, were the noise white.
        seed : of the noise.
        correlation : standard deviation, pixels, of the Gaussian that correlates it; 0 for white noise.

        Returns
        -------
        The images, [n, size, size], and the noise of a pixel of each, [n].
        """
        level = np.sqrt((self.blurred**2).sum(axis=(1, 2))) / signal
        noise = np.random.default_rng([seed, int(signal)]).standard_normal(self.blurred.shape)
        if correlation:
            noise = gaussian_filter(noise, (0, correlation, correlation), mode="wrap")
            noise /= noise.std()
        return self.blurred + level[:, None, None] * noise, level


def draw_truths(
    count: int, seed: int = 0, seeing: float = SEEING, beta: float = 3.0, target: float = TARGET
) -> Truths:
    """Draw galaxies.

    Parameters
    ----------
    count, seed : how many, and of which random seed: galaxy i of a seed is always the same.
    seeing, beta : full width at half maximum, arcsec, and slope of the wings of the point-spread function.
    target : full width at half maximum of the sharp images, arcsec.
    """
    psf = galsim.Moffat(beta=beta, fwhm=seeing)
    sharp = galsim.Gaussian(sigma=target * SIGMA_OF_FWHM)
    galaxies = [galaxy(np.random.default_rng([seed, index])) for index in range(count)]
    blurred, drawn_sharp = (np.stack([_drawn(each, kernel) for each in galaxies]) for kernel in (psf, sharp))
    return Truths(blurred, drawn_sharp, seeing, beta, target)


def galaxy(random: np.random.Generator) -> galsim.GSObject:
    """One galaxy of unit flux."""
    radius = np.exp(random.uniform(np.log(0.6), np.log(2.2)))
    bulge, knots = random.beta(1.2, 2.5), random.uniform(0, 0.25)
    angle = random.uniform(0, 180) * galsim.degrees
    axis_ratio = random.uniform(0.25, 1.0)
    parts = [
        galsim.Exponential(half_light_radius=radius, flux=1 - bulge).shear(q=axis_ratio, beta=angle),
        galsim.DeVaucouleurs(half_light_radius=random.uniform(0.2, 0.5) * radius, flux=bulge, trunc=6.0).shear(
            q=max(axis_ratio, 0.6), beta=angle
        ),
    ]
    if knots > 0.05 and bulge < 0.7:
        seed = galsim.BaseDeviate(int(random.integers(1, 2**31)))
        scattered = galsim.RandomKnots(int(random.integers(5, 25)), half_light_radius=radius, flux=knots, rng=seed)
        parts.append(scattered.shear(q=axis_ratio, beta=angle))
    whole = galsim.Sum(parts)
    return (whole / whole.flux).shift(*random.uniform(-0.2, 0.2, 2))


def _drawn(galaxy: galsim.GSObject, kernel: galsim.GSObject) -> np.ndarray:
    # Point-spread functions are those of the pixels.
    image = galsim.Convolve(galaxy, kernel).drawImage(nx=SIZE, ny=SIZE, scale=PIXEL_SCALE, method="no_pixel")
    return image.array.astype(float)


def signal_to_noise_of_peak(truth: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """PSNR, dB: the truth's peak over the root mean square error, [n]."""
    error = np.sqrt(((restored - truth) ** 2).mean(axis=(1, 2)))
    return 20 * np.log10(truth.max(axis=(1, 2)) / error)


def aperture_flux(images: np.ndarray, radius: float = APERTURE / PIXEL_SCALE) -> np.ndarray:
    """The flux within a radius, pixels, of the middle: [n]."""
    offset = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    inside = np.hypot(offset[:, None], offset) < radius
    return (images * inside).sum(axis=(1, 2))


@dataclass(frozen=True)
class Figures:
    """How one way restores one kind of images.

    Attributes
    ----------
    psnr : median, dB.
    flux_bias : the median of the relative error of the flux within `APERTURE`, and the standard error of that.
    coverage : the share of pixels whose truth is within one sigma, where the way has uncertainties; NaN elsewhere.
    """

    psnr: float
    flux_bias: tuple[float, float]
    coverage: float = np.nan

    @classmethod
    def of(cls, truth: np.ndarray, restored: np.ndarray, sigma: np.ndarray | None = None) -> "Figures":
        """Those of images.

        Parameters
        ----------
        truth, restored, sigma : [n, size, size].
        """
        true_flux = aperture_flux(truth)
        bias = aperture_flux(restored) / true_flux - 1
        covered = np.nan if sigma is None else float((np.abs(restored - truth) < sigma).mean())
        spread = 1.2533 * 1.4826 * np.median(np.abs(bias - np.median(bias))) / np.sqrt(len(bias))
        return cls(
            float(np.median(signal_to_noise_of_peak(truth, restored))),
            (float(np.median(bias)), float(spread)),
            covered,
        )


def ellipticity(images: np.ndarray, width: float = 8.0) -> np.ndarray:
    """Both components of the ellipticity by second moments within a round Gaussian of `width` pixels: [n, 2]."""
    offset = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    y, x = offset[:, None], offset[None, :]
    weight = images * np.exp(-0.5 * (x**2 + y**2) / width**2)
    total = weight.sum(axis=(1, 2))
    xx, yy, xy = ((weight * each).sum(axis=(1, 2)) / total for each in (x * x, y * y, x * y))
    return np.stack([(xx - yy) / (xx + yy), 2 * xy / (xx + yy)], axis=1)


def inject(kind: str, random: np.random.Generator, signal: float) -> np.ndarray:
    """A structure that the restorer is not trained on, blurred by the seeing: [size, size].

    Parameters
    ----------
    kind : "arc", as of a lensed galaxy; "asteroid", a short trail; "satellite", a trail across the stamp.
    random : random numbers.
    signal : the root of its summed squares: its signal to noise for unit noise.

    Raises
    ------
    ValueError : the kind is unknown.
    """
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    angle = random.uniform(0, 2 * np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    width = SEEING * SIGMA_OF_FWHM / PIXEL_SCALE
    if kind == "arc":
        radius, place = random.uniform(8, 16), np.arctan2(across, along)
        shape = np.exp(-0.5 * ((np.hypot(x, y) - radius) / width) ** 2) * (np.abs(place) < random.uniform(0.5, 1.0))
        shape = gaussian_filter(shape, 1.0)
    elif kind == "asteroid":
        beyond = np.maximum(np.abs(along) - random.uniform(3, 7), 0)
        shape = np.exp(-0.5 * (np.hypot(beyond, across - random.uniform(8, 16)) / width) ** 2)
    elif kind == "satellite":
        shape = np.exp(-0.5 * ((across - random.uniform(6, 20)) / width) ** 2)
    else:
        raise ValueError(f"no structure is called {kind}")
    return shape * signal / np.sqrt((shape**2).sum())
