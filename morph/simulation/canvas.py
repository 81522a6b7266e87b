"""The grid on which a scene is drawn.

Profiles that have a formula come from GalSim in Fourier space; structure that has none (arms, knots, tails) is
drawn as a map on points finer than the survey's pixels, and transformed. All of them add up in Fourier space, so
that a scene costs one convolution a band. Waves too short for the survey's pixels are dropped there: its
point-spread function would leave nothing of them.
"""

from functools import cached_property

import galsim
import numpy as np
import scipy.fft


class Canvas:
    """A square of `size` x `size` pixels, `scale` arcsec wide, centred on (0, 0) arcsec.

    Parameters
    ----------
    size : pixels on a side; made even.
    scale : arcsec per pixel.
    finer : points per pixel and axis on which maps are drawn.

    Attributes
    ----------
    x, y : float32 [1, points] and [points, 1], places of the points, arcsec from the centre; x runs along columns,
        y along rows.
    """

    def __init__(self, size: int, scale: float, finer: int = 2):
        self.size, self.scale, self.finer = size + size % 2, scale, finer
        self.points = self.size * finer
        axis = ((np.arange(self.points) - (self.points - 1) / 2) * scale / finer).astype("float32")
        self.x, self.y = axis[None, :], axis[:, None]

    def __repr__(self) -> str:
        return f"Canvas(size={self.size}, scale={self.scale}, finer={self.finer})"

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of a map: points, not pixels."""
        return self.points, self.points

    @property
    def spectrum_shape(self) -> tuple[int, int]:
        return self.size, self.size // 2 + 1

    @cached_property
    def _k(self) -> tuple[np.ndarray, np.ndarray]:
        """Wave numbers (radians per arcsec) along y (all) and x (the half that a real transform keeps)."""
        ky = 2 * np.pi * scipy.fft.fftfreq(self.size, self.scale)
        kx = 2 * np.pi * scipy.fft.rfftfreq(self.size, self.scale)
        return ky[:, None], kx[None, :]

    @cached_property
    def _from_points(self) -> np.ndarray:
        """The factor that moves the origin from the first point to the middle of the first pixel."""
        shift = (1 - self.finer) / 2 * self.scale / self.finer
        return self.moved(shift, shift)

    def response(self, profile: galsim.GSObject) -> np.ndarray:
        """The Fourier transform of a profile at its own centre: complex64 [spectrum], its flux at [0, 0]."""
        half = self.size // 2
        image = galsim.ImageCF(galsim.BoundsI(0, half, -half, half - 1))
        profile.drawKImage(image, scale=2 * np.pi / (self.size * self.scale), recenter=False)
        return np.fft.ifftshift(image.array, axes=0)

    def moved(self, x: float, y: float) -> np.ndarray:
        """The factor that moves a spectrum by `x`, `y` arcsec."""
        ky, kx = self._k
        return np.exp(-1j * ky * y).astype("complex64") * np.exp(-1j * kx * x).astype("complex64")

    def place(self, x: float = 0.0, y: float = 0.0) -> np.ndarray:
        """The factor that puts a profile's response at `x`, `y` arcsec from the middle."""
        middle = (self.size - 1) / 2 * self.scale
        return self.moved(x + middle, y + middle)

    def blur(self, sigma: float) -> np.ndarray:
        """The response of a Gaussian of unit flux, `sigma` arcsec wide: float32 [spectrum]."""
        ky, kx = self._k
        return np.exp(-0.5 * (sigma * ky) ** 2).astype("float32") * np.exp(-0.5 * (sigma * kx) ** 2).astype("float32")

    def transform(self, image: np.ndarray) -> np.ndarray:
        """The spectrum of maps [..., points, points]."""
        full = scipy.fft.rfft2(image.astype("float32", copy=False))
        half = self.size // 2
        if self.finer == 1:
            return full
        return np.concatenate([full[..., :half, : half + 1], full[..., -half:, : half + 1]], -2) * self._from_points

    def draw(self, spectrum: np.ndarray) -> np.ndarray:
        """Images [..., size, size] of spectra, in the survey's pixels."""
        return scipy.fft.irfft2(spectrum, s=(self.size, self.size))

    def scatter(self, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
        """Point sources as a map [points, points]: each on its nearest point, those outside left out.

        Parameters
        ----------
        x, y : their places, arcsec from the middle.
        flux : of each.
        """
        step = self.scale / self.finer
        column = np.rint(x / step + (self.points - 1) / 2).astype(int)
        row = np.rint(y / step + (self.points - 1) / 2).astype(int)
        inside = (column >= 0) & (column < self.points) & (row >= 0) & (row < self.points)
        index = row[inside] * self.points + column[inside]
        counts = np.bincount(index, weights=flux[inside], minlength=self.points**2)
        return counts.reshape(self.shape).astype("float32")
