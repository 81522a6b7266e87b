"""The surveys: what their images measure, and how well.

Every number that depends on a survey is in one `Survey`; a new survey is one new entry of `SURVEYS`.
Sources: SDSS DR7 paper (Abazajian et al. 2009) for seeing, sky and depth; DES DR2 (Abbott et al. 2021)
for pixel scale, seeing and depth; the LSST overview (Ivezic et al. 2019) for Rubin; the Legacy Surveys
overview (Dey et al. 2019) for DECaLS; Aihara et al. (2022) for HSC's wide layer; Chambers et al. (2016) for
Pan-STARRS; Kuijken et al. (2019) for KiDS; the Euclid overview (Mellier et al. 2025) for VIS; Erben et al.
(2013) for CFHTLS. Depths that are published for a signal-to-noise of 5 are brighter here by 2.5 log10(2).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from morph.errors import InputError

#: The three channels of every network input, from blue to red.
CHANNELS = ("g", "r", "i")

#: Fluxes inside the project are nanomaggies: zero point 22.5 mag.
NANOMAGGY_ZERO_POINT = 22.5


@dataclass(frozen=True)
class Survey:
    """What one survey's coadded images look like.

    Attributes
    ----------
    bands : the bands that fill the channels g, r, i in that order (DECaLS puts z where SDSS has i).
    pixel_scale : arcsec per pixel.
    zero_point : magnitude of one count per second (or per coadd unit) in the survey's files.
    seeing : full width at half maximum of the point-spread function in each band, arcsec.
    depth : magnitude of a point source at signal-to-noise 10 in each band.
    noise_correlation : standard deviation, in pixels, of the Gaussian kernel that resampling leaves in
        the coadd's noise; 0 where pixels are independent.
    """

    name: str
    title: str
    bands: tuple[str, str, str]
    pixel_scale: float
    zero_point: float
    seeing: tuple[float, float, float]
    depth: tuple[float, float, float]
    noise_correlation: float = 0.0

    def noise(self) -> np.ndarray:
        """Sky noise per pixel in each band, nanomaggies, shape [3].

        A point source measured through the matched filter of a Gaussian PSF has an effective area of
        4 pi sigma^2 (King 1983), so depth m at S/N 10 means noise = flux(m) / (10 sqrt(area)).

        Examples
        --------
        >>> get_survey("des").noise().round(4).tolist()
        [0.0021, 0.0032, 0.006]
        """
        sigma = np.asarray(self.seeing) / 2.3548 / self.pixel_scale
        area = 4 * np.pi * sigma**2
        flux = 10 ** ((NANOMAGGY_ZERO_POINT - np.asarray(self.depth)) / 2.5)
        return flux / (10 * np.sqrt(area))


_GRI = ("g", "r", "i")

# fmt: off
#: By name. Add a new survey at the end: models store their surveys by position (`morph.domain_shift.sample`).
SURVEYS = {
    survey.name: survey
    for survey in (
        Survey("sdss", "Sloan Digital Sky Survey",
               _GRI, 0.396, 22.5, (1.44, 1.32, 1.26), (22.4, 22.0, 21.5)),
        Survey("des", "Dark Energy Survey",
               _GRI, 0.263, 30.0, (1.11, 0.95, 0.88), (24.7, 24.4, 23.8), 0.43),
        Survey("decals", "DESI Legacy Surveys (DECam)",
               ("g", "r", "z"), 0.262, 22.5, (1.29, 1.18, 1.11), (23.7, 23.2, 22.2), 0.5),
        Survey("lsst", "Rubin Observatory Legacy Survey of Space and Time",
               _GRI, 0.2, 31.4, (0.77, 0.73, 0.71), (26.6, 26.7, 26.1), 0.5),
        Survey("hsc", "Hyper Suprime-Cam Subaru Strategic Program",
               _GRI, 0.168, 27.0, (0.79, 0.75, 0.61), (25.7, 25.7, 25.4), 0.5),
        Survey("panstarrs", "Pan-STARRS 1, stacks",
               _GRI, 0.25, 25.0, (1.31, 1.19, 1.11), (22.5, 22.4, 22.3), 0.5),
        Survey("kids", "Kilo-Degree Survey",
               _GRI, 0.2, 0.0, (0.88, 0.70, 0.80), (24.4, 24.3, 22.9), 0.5),
        # VIS has r's place, in which its effective wavelength lies (0.72 micrometres); g and i are DES's.
        Survey("euclid", "Euclid, VIS with ground-based g and i",
               ("g", "VIS", "i"), 0.1, 23.9, (1.11, 0.16, 0.88), (24.7, 25.4, 23.8), 0.5),
        Survey("cfhtls", "Canada-France-Hawaii Telescope Legacy Survey, wide",
               _GRI, 0.187, 30.0, (0.82, 0.72, 0.68), (24.8, 24.1, 23.8), 0.5),
    )
}
# fmt: on


#: Images of an unknown survey. Pixel scale and zero point are from their headers, the seeing is measured.
UNKNOWN = Survey("unknown", "survey not known", ("g", "r", "i"), np.nan, np.nan, (np.nan,) * 3, (np.nan,) * 3)

#: The channels of an unknown survey's images that have z and not i, like those of the Legacy Surveys.
WITH_Z = ("g", "r", "z")


def channels_of(survey: Survey, bands: Iterable[str]) -> tuple[str, str, str]:
    """The bands that fill the channels g, r, i of an image that has some `bands`, from blue to red.

    >>> channels_of(UNKNOWN, "grz")
    ('g', 'r', 'z')
    """
    there = set(bands)
    return WITH_Z if survey is UNKNOWN and "z" in there and "i" not in there else survey.bands


#: Surveys whose galaxies and images can be simulated: their populations of galaxies are known.
SIMULATED = ("sdss", "des", "decals", "lsst")


def get_simulated(name: str) -> Survey:
    """The survey called `name`, if it can be simulated; InputError names those that can when it is none of them."""
    survey = get_survey(name)
    if survey.name not in SIMULATED:
        raise InputError(f"Survey '{survey.name}' cannot be simulated; use one of {', '.join(SIMULATED)}.")
    return survey


def get_survey(name: str) -> Survey:
    """The survey called `name`; InputError names the known ones when there is none.

    ``unknown`` stands for images whose survey is not known: nothing is assumed of them.

    Examples
    --------
    >>> get_survey("DES").seeing
    (1.11, 0.95, 0.88)
    """
    if name.lower() == UNKNOWN.name:
        return UNKNOWN
    try:
        return SURVEYS[name.lower()]
    except KeyError:
        raise InputError(f"Unknown survey '{name}'; use one of {', '.join(SURVEYS)}.") from None


def magnitude(nanomaggies):
    """AB magnitude of a flux in nanomaggies; NaN where the flux is not positive."""
    flux = np.asarray(nanomaggies, dtype=float)
    return NANOMAGGY_ZERO_POINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
