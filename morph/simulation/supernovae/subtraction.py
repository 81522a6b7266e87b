"""Proper image subtraction (Zackay, Ofek & Gal-Yam 2016) and the flux of a point source in the difference.

Both point-spread functions and both noises are known, so the difference has white noise where there is only sky, and
a point source in it has a known profile. Images are periodic: what leaves on one side enters on the other. All arrays
have the bands first.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft


@dataclass(frozen=True)
class Subtraction:
    """How two images are subtracted.

    Attributes
    ----------
    search_psf, template_psf : complex [bands, size, size // 2 + 1], Fourier transforms of unit flux, centred on
        pixel (0, 0).
    search_sigma, template_sigma : noise of the sky, nanomaggies per pixel, [bands].
    """

    search_psf: np.ndarray
    template_psf: np.ndarray
    search_sigma: np.ndarray
    template_sigma: np.ndarray

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return self.search_psf.shape[1]

    @cached_property
    def _root(self) -> np.ndarray:
        sigma, other = self.search_sigma[:, None, None], self.template_sigma[:, None, None]
        variance = np.abs(sigma * self.template_psf) ** 2 + np.abs(other * self.search_psf) ** 2
        # Where neither image passes a wave there is only noise, in any ratio.
        return np.sqrt(np.maximum(variance, 1e-12 * variance.max(axis=(1, 2), keepdims=True)))

    @cached_property
    def _filters(self) -> tuple[np.ndarray, np.ndarray]:
        """What the search and the template are multiplied by (equation 13 of the paper)."""
        return self.template_psf / self._root, self.search_psf / self._root

    @cached_property
    def psf(self) -> np.ndarray:
        """The transform of a point source of one nanomaggy in the difference (equation 14, not normalised)."""
        return self.search_psf * self.template_psf / self._root

    def difference(self, search: np.ndarray, template: np.ndarray) -> np.ndarray:
        """The difference of images [bands, size, size], in units of its noise where there is only sky."""
        first, second = self._filters
        return self._image(first * scipy.fft.rfft2(search) - second * scipy.fft.rfft2(template))

    def variance(self, search: np.ndarray, template: np.ndarray) -> np.ndarray:
        """The variance of every pixel of the difference, [bands, size, size].

        Parameters
        ----------
        search, template : of every pixel's noise in the images, the sources' photons included, [bands, size, size].
        """
        spectra = (
            scipy.fft.rfft2(self._image(factor) ** 2) * scipy.fft.rfft2(of_pixels)
            for factor, of_pixels in zip(self._filters, (search, template), strict=True)
        )
        return np.maximum(self._image(sum(spectra)), 0)

    def flux(
        self, difference: np.ndarray, x: float, y: float, search: np.ndarray, template: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The flux of a point source at a known place and its standard error, nanomaggies, [bands] each.

        Parameters
        ----------
        difference : as `difference` gives it.
        x, y : pixels.
        search, template : as for `variance`.
        """
        matched = self.psf * shifted(self.size, x, y)
        power = _sum(np.abs(matched) ** 2)
        value = _sum((np.conj(matched) * scipy.fft.rfft2(difference)).real) / power
        variance = np.zeros(len(power))
        for factor, of_pixels in zip(self._filters, (search, template), strict=True):
            variance += (self._image(matched * np.conj(factor)) ** 2 * of_pixels).sum(axis=(1, 2))
        # The weights are those of the sum over pixels; Parseval's theorem brings them to the sum over waves.
        return value, np.sqrt(variance) * self.size**2 / power

    def _image(self, spectrum: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft2(spectrum, s=(self.size, self.size))


def shifted(size: int, x: float, y: float) -> np.ndarray:
    """The factor that moves a spectrum from pixel (0, 0) to a place: complex [size, size // 2 + 1].

    Parameters
    ----------
    size : pixels on a side of the image.
    x, y : the place, pixels.
    """
    ky, kx = 2 * np.pi * scipy.fft.fftfreq(size), 2 * np.pi * scipy.fft.rfftfreq(size)
    return np.exp(-1j * ky * y)[:, None] * np.exp(-1j * kx * x)[None, :]


def _sum(half: np.ndarray) -> np.ndarray:
    """The sums [bands] over all waves of what is even in them, of which `half` holds those with kx >= 0; the size is
    even."""
    twice = np.full(half.shape[-1], 2.0)
    twice[[0, -1]] = 1
    return (half * twice).sum(axis=(1, 2))
