"""Point-spread functions as users give them: a width, an image of a star in a FITS file, or a model of PSFEx.

All are those of the pixels: the integration over a pixel is a part of them, as it is of a star's image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.ndimage import zoom

from morph.errors import InputError, first_line
from morph.fits.headers import number
from morph.fits.wcs import celestial
from morph.model.restoration import BETA, frequencies, moffat_radius, moffat_table

#: How far a point-spread function's sum may be from 1, and its pixels from the image's, relative.
UNIT_SLACK, SCALE_SLACK = 0.02, 0.02
#: Cards of a header that hold a pixel scale in arcsec.
SCALE_CARDS = ("PIXSCALE", "PIXSCAL1", "PIXELSCL")
#: The part of its sum that a kernel may have below zero, as noise in a star's image leaves it.
NEGATIVE = 0.05


@dataclass(frozen=True)
class PointSpread:
    """The point-spread function of one image.

    Attributes
    ----------
    fwhm : full width at half maximum, pixels, of a Moffat profile (beta = 3); 0 where an image or a model is given.
    image : of a star, of unit sum; None where there is none.
    model : GalSim's DES_PSFEx, which depends on the place; None where there is none.
    note : what was taken for granted, one sentence, or empty.
    """

    fwhm: float = 0.0
    image: np.ndarray | None = None
    model: Any = None
    note: str = ""
    _cache: dict[Any, tuple[np.ndarray, float]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def varies(self) -> bool:
        """Whether it depends on the place."""
        return self.model is not None

    def at(self, x: float, y: float, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
        """Its transfer function for an image of some shape, and its full width at half maximum in pixels.

        Parameters
        ----------
        x, y : the place on the image, pixels, 0-based.
        shape : rows and columns of the transfer function.

        Returns
        -------
        complex64 of the shape, with the phase of a function that is centred, so that nothing moves; and the width.
        """
        key = (shape, (round(x), round(y)) if self.varies else None)
        if key not in self._cache:
            if len(self._cache) > 64:
                self._cache.clear()
            self._cache[key] = self._transfer(x, y, shape)
        return self._cache[key]

    def width(self, x: float = 0.0, y: float = 0.0) -> float:
        """Full width at half maximum at a place, pixels."""
        return self.at(x, y, (32, 32))[1]

    def _transfer(self, x: float, y: float, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
        if self.image is None and self.model is None:
            argument = 2 * np.pi * frequencies(*shape) * moffat_radius(self.fwhm, BETA)
            return np.interp(argument, *moffat_table(BETA)).astype("complex64"), self.fwhm
        kernel = self.image if self.image is not None else _draw(self.model, x, y)
        return transfer_of(kernel, shape), full_width(kernel)


def transfer_of(kernel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The transfer function of a kernel about its centroid, of unit flux: complex64 of the shape."""
    rows, columns = np.indices(kernel.shape)
    light = np.maximum(kernel, 0.1 * kernel.max()) - 0.1 * kernel.max()
    y, x = ((light * place).sum() / light.sum() for place in (rows, columns))
    row_waves = np.exp(-2j * np.pi * np.fft.fftfreq(shape[0])[:, None] * (np.arange(kernel.shape[0]) - y))
    column_waves = np.exp(-2j * np.pi * np.fft.fftfreq(shape[1])[:, None] * (np.arange(kernel.shape[1]) - x))
    return (row_waves @ kernel @ column_waves.T / kernel.sum()).astype("complex64")


def full_width(kernel: np.ndarray) -> float:
    """The full width at half maximum of a kernel, pixels, by the area above half of its maximum."""
    fine = 8
    core = zoom(kernel.astype(float), fine, order=3)
    return float(2 * np.sqrt((core > core.max() / 2).sum() / np.pi) / fine)


def read_psf(given: str, pixel_scale: float, band: str = "") -> PointSpread:
    """A point-spread function as the option ``--psf`` gives it.

    Parameters
    ----------
    given : full width at half maximum in arcsec, the name of a FITS image of a star or of a model of PSFEx; or one of
        these for each band, as ``g=1.1,r=0.95,i=psf_i.fits``.
    pixel_scale : of the image, arcsec; NaN where it is not known.
    band : of the image.

    Returns
    -------
    PointSpread, in pixels of the image.

    Raises
    ------
    InputError : the file is missing; it is of another pixel scale, not normalised, or no point-spread function.

    Examples
    --------
    >>> round(read_psf("0.95", 0.263).fwhm, 2)
    3.61
    """
    given = of_band(given, band)
    try:
        fwhm = float(given)
    except ValueError:
        return _read_file(Path(given), pixel_scale)
    if not 0 < fwhm < 60:
        raise InputError(f"--psf is {given}; give the full width at half maximum in arcsec, such as 0.95, or a file.")
    return PointSpread(fwhm=in_pixels(fwhm, pixel_scale, "--psf"))


def in_pixels(arcsec: float, pixel_scale: float, option: str) -> float:
    """A length in pixels; InputError where their scale is not known.

    Parameters
    ----------
    arcsec, pixel_scale : the length, and arcsec a pixel.
    option : that gives the length, for the message.
    """
    if not np.isfinite(pixel_scale):
        raise InputError(
            f"{option} is in arcsec, and the pixel scale of the image is not known; give it with --pixel-scale."
        )
    return arcsec / pixel_scale


def of_band(given: str, band: str) -> str:
    """The part of an option for one band, where it has a part for each; InputError where the band is missing.

    >>> of_band("g=1.1,r=0.95", "r"), of_band("0.95", "r")
    ('0.95', '0.95')
    """
    if "=" not in given:
        return given
    parts: Mapping[str, str] = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    if band not in parts:
        raise InputError(
            f"--psf has {', '.join(parts)} and not band {band or '?'}; add {band or 'BAND'}=FWHM or a file."
        )
    return parts[band]


def _read_file(path: Path, pixel_scale: float) -> PointSpread:
    if not path.is_file():
        raise InputError(f"--psf '{path}' is neither a width in arcsec nor a file.")
    try:
        with fits.open(path) as hdus:
            for hdu in hdus:
                if isinstance(hdu, fits.BinTableHDU) and "POLNAXIS" in hdu.header:
                    return _read_psfex(path)
                if getattr(hdu, "is_image", False) and hdu.data is not None and hdu.data.ndim == 2:
                    return _of_image(np.array(hdu.data, dtype=float), hdu.header, path, pixel_scale)
    except OSError as error:
        raise InputError(f"--psf '{path}' cannot be read ({first_line(error)}).") from None
    raise InputError(f"--psf '{path}' holds neither an image of two dimensions nor a model of PSFEx.")


def _of_image(kernel: np.ndarray, header: fits.Header, path: Path, pixel_scale: float) -> PointSpread:
    scale = _scale_in(header, path)
    if np.isfinite(scale) and np.isfinite(pixel_scale) and abs(scale / pixel_scale - 1) > SCALE_SLACK:
        raise InputError(
            f"The point-spread function '{path}' has pixels of {scale:.4g} arcsec and the image of {pixel_scale:.4g}; "
            "resample it to those of the image."
        )
    if not np.isfinite(kernel).all() or kernel.max() <= 0 or -kernel[kernel < 0].sum() > NEGATIVE * kernel.sum():
        raise InputError(f"The image '{path}' is not a point-spread function: it has pixels without or below zero.")
    if abs(kernel.sum() - 1) > UNIT_SLACK:
        raise InputError(
            f"The point-spread function '{path}' sums to {kernel.sum():.4g} and not to 1; subtract its sky and divide "
            "it by its sum."
        )
    note = "" if np.isfinite(scale) else f"'{path.name}' has no pixel scale; its pixels are taken to be the image's."
    return PointSpread(image=kernel / kernel.sum(), note=note)


def _scale_in(header: fits.Header, path: Path) -> float:
    """The pixel scale in a header, arcsec; NaN where it has none."""
    for card in SCALE_CARDS:
        if (found := number(header, card)) is not None and found > 0:
            return float(found)
    try:
        return float(np.mean(proj_plane_pixel_scales(celestial(header, path))) * 3600)
    except InputError:
        return np.nan


def _read_psfex(path: Path) -> PointSpread:
    import galsim.des

    try:
        return PointSpread(model=galsim.des.DES_PSFEx(str(path)))
    except (OSError, KeyError, ValueError, galsim.GalSimError) as error:
        raise InputError(f"The model of PSFEx in '{path}' cannot be read ({first_line(error)}).") from None


def _draw(model: Any, x: float, y: float) -> np.ndarray:
    """A model's image of a star at a place, of unit sum."""
    import galsim

    # PSFEx counts pixels from 1.
    star = model.getPSF(galsim.PositionD(x + 1, y + 1))
    image = star.drawImage(nx=63, ny=63, scale=1.0, method="no_pixel").array.astype(float)
    return image / image.sum()
