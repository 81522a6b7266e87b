"""What `restore` sends beside images, and returns."""

from typing import Any

import numpy as np

from morph.errors import InputError
from morph.sizes import NARROWEST_PSF

#: The outputs of the signature.
RESTORED = ("restored", "sigma", "prior_fraction", "shape_error", "chi_square")


class Widths:
    """Full widths at half maximum of point-spread functions, one for each image or one for all, pixels.

    Parameters
    ----------
    psf_fwhm : of the images; None where it is not known.
    target_fwhm : of the restored images; None to take only the noise away.

    Raises
    ------
    InputError : a target without a point-spread function, narrower than pixels bear, or wider than the image's.

    Examples
    --------
    >>> Widths(3.6, 2.0)(0, 2)["target_fwhm"].tolist()
    [2.0, 2.0]
    """

    def __init__(self, psf_fwhm: Any = None, target_fwhm: Any = None):
        self.given = {
            name: np.atleast_1d(np.asarray(np.nan if value is None else value, dtype="float32"))
            for name, value in (("psf_fwhm", psf_fwhm), ("target_fwhm", target_fwhm))
        }
        psf, target = self.given.values()
        if psf.ndim > 1 or target.ndim > 1 or (len(psf) > 1 and len(target) > 1 and len(psf) != len(target)):
            raise InputError("psf_fwhm and target_fwhm are one number for all images, or one for each.")
        if (psf <= 0).any() or np.isinf(psf).any():
            raise InputError("psf_fwhm is in pixels, and above 0; give NaN where it is not known.")
        if (target < NARROWEST_PSF).any():
            raise InputError(
                f"A target of {np.nanmin(target):.2f} pixels is narrower than the pixels bear; give a target_fwhm of "
                f"at least {NARROWEST_PSF}."
            )
        asked = np.isfinite(target)
        if (asked & ~(target <= psf)).any():
            raise InputError("target_fwhm is at most psf_fwhm, which must be known to sharpen an image.")

    @property
    def in_pixels_of_images(self) -> bool:
        """Whether any width is given, which only means something for images that are sent as they are."""
        return any(np.isfinite(values).any() for values in self.given.values())

    def require(self, ready: bool) -> None:
        """InputError where widths are given and the images are cut to their galaxies' sizes, as files are."""
        if self.in_pixels_of_images and not ready:
            raise InputError(
                "Files are cut to the galaxy's own size, so that pixels of an image are not those that are restored; "
                "give arrays of flux with psf_fwhm, or use `morph restore`."
            )

    def __call__(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Those of some of the images; InputError where there are more images than widths."""
        found = {}
        for name, values in self.given.items():
            if len(values) > 1 and stop > len(values):
                raise InputError(f"There are {len(values)} values of {name} and more images; give one for each.")
            found[name] = np.full(stop - start, values[0]) if len(values) == 1 else values[start:stop]
        return found
