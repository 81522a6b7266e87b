"""The grid on which a scene is drawn: finer than the survey's pixels, in real space and in Fourier space.

Profiles that have a formula come from GalSim in Fourier space; structure that has none (arms, knots, tails) is
drawn as a map and transformed. All of them add up there, so that a scene costs one convolution a band.
"""

from functools import cached_property

import galsim
import numpy as np
import scipy.fft


class Canvas:
    """A square of `size` x `size` points, `scale` arcsec apart, centred on (0, 0) arcsec.

    Attributes
    ----------
    x, y : float32 [1, size] and [size, 1], arcsec from the centre; x runs along columns, y along rows.
    """

    def __init__(self, size: int, scale: float):
        self.size = size + size % 2
        self.scale = scale
        axis = ((np.arange(self.size) - (self.size - 1) / 2) * scale).astype("float32")
        self.x, self.y = axis[None, :], axis[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @cached_property
    def _k(self) -> tuple[np.ndarray, np.ndarray]:
        """Wave numbers (radians per arcsec) along y (all) and x (the half that a real transform keeps)."""
        ky = 2 * np.pi * scipy.fft.fftfreq(self.size, self.scale)
        kx = 2 * np.pi * scipy.fft.rfftfreq(self.size, self.scale)
        return ky[:, None], kx[None, :]

    def response(self, profile: galsim.GSObject) -> np.ndarray:
        """The Fourier transform of a profile: complex64 [size, size // 2 + 1], its flux at [0, 0]."""
        half = self.size // 2
        image = galsim.ImageCF(galsim.BoundsI(0, half, -half, half - 1))
        profile.drawKImage(image, scale=2 * np.pi / (self.size * self.scale), recenter=False)
        return np.fft.ifftshift(image.array, axes=0)

    def place(self, x: float = 0.0, y: float = 0.0) -> np.ndarray:
        """The factor that moves a response from the grid's first point to `x`, `y` arcsec."""
        middle = (self.size - 1) / 2 * self.scale
        ky, kx = self._k
        return (np.exp(-1j * ky * (y + middle)) * np.exp(-1j * kx * (x + middle))).astype("complex64")

    def blur(self, sigma: float) -> np.ndarray:
        """The response of a Gaussian of unit flux, `sigma` arcsec wide: float32 [size, size // 2 + 1]."""
        ky, kx = self._k
        return (np.exp(-0.5 * (sigma * ky) ** 2) * np.exp(-0.5 * (sigma * kx) ** 2)).astype("float32")

    def transform(self, image: np.ndarray) -> np.ndarray:
        """Fourier transform of maps [..., size, size]."""
        return scipy.fft.rfft2(image.astype("float32", copy=False))

    def draw(self, spectrum: np.ndarray) -> np.ndarray:
        """Maps [..., size, size] of spectra [..., size, size // 2 + 1]."""
        return scipy.fft.irfft2(spectrum, s=self.shape)

    def scatter(self, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
        """Point sources (arcsec) put on their nearest grid points; those outside are left out."""
        column = np.rint(x / self.scale + (self.size - 1) / 2).astype(int)
        row = np.rint(y / self.scale + (self.size - 1) / 2).astype(int)
        inside = (column >= 0) & (column < self.size) & (row >= 0) & (row < self.size)
        index = row[inside] * self.size + column[inside]
        counts = np.bincount(index, weights=flux[inside], minlength=self.size**2)
        return counts.reshape(self.shape).astype("float32")
