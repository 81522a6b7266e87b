"""Light curves of supernovae, simple ones: three classes, each with one shape a band.

Peak magnitudes and their scatter are those of Richardson et al. (2014, table 1; not corrected for the hosts' dust).
Flux rises and falls as Bazin et al. (2009) fitted, in the rest frame; a type II stays on a plateau of some hundred
days (Anderson et al. 2014). Redshift dims by the luminosity distance of Planck18 and stretches time. There is no K
correction: a band sees the same rest-frame light at all redshifts, which is good to a few tenths of a magnitude below
z of 0.3. Whoever needs more makes light curves by sncosmo, whose templates are not ours to distribute.
"""

from dataclasses import dataclass

import numpy as np
from astropy.cosmology import Planck18

from morph.errors import InputError
from morph.surveys import NANOMAGGY_ZERO_POINT


@dataclass(frozen=True)
class Shape:
    """One class of supernovae.

    Attributes
    ----------
    peak, scatter : absolute magnitude in r at its peak, and its standard deviation.
    rise, fall : days, rest frame, in g, r, i, of the exponential rise and fall.
    plateau : days between both, in r; 0 for none.
    colours : g - r and r - i at the peak.
    stretch : standard deviation of the logarithm of all times.
    """

    peak: float
    scatter: float
    rise: tuple[float, float, float]
    fall: tuple[float, float, float]
    plateau: float
    colours: tuple[float, float]
    stretch: float = 0.1


SHAPES = {
    "ia": Shape(-19.26, 0.50, (3.5, 4.0, 4.0), (19.0, 27.0, 32.0), 0.0, (0.0, -0.1)),
    "ibc": Shape(-17.6, 1.15, (4.0, 5.0, 5.5), (16.0, 22.0, 27.0), 0.0, (0.4, 0.1)),
    "ii": Shape(-16.8, 0.98, (3.0, 3.5, 4.0), (18.0, 14.0, 14.0), 90.0, (0.2, 0.1)),
}

#: The share of type II among core collapses in a volume (Li et al. 2011: 75 % with IIb among them).
TYPE_II = 0.75
#: The share of type Ia in a sample of all types that is limited by brightness (Li et al. 2011: 79 %).
IA_OF_MIXED = 0.79

#: What `--type` takes.
TYPES = ("ia", "cc", "mixed")

#: Rest-frame days around the peak in which a transient is observed.
FIRST_DAY, LAST_DAY = -10.0, 60.0


@dataclass(frozen=True)
class LightCurve:
    """One supernova's brightness over time.

    Attributes
    ----------
    kind : a key of `SHAPES`.
    magnitudes : at the peak of each band, observed, [3].
    stretch : of its times, the one of redshift included.
    """

    kind: str
    magnitudes: np.ndarray
    stretch: float

    def flux(self, day: float) -> np.ndarray:
        """Nanomaggies in g, r, i, [3], so many observed days after the peak."""
        return 10 ** ((NANOMAGGY_ZERO_POINT - self.magnitudes) / 2.5) * relative_flux(self.kind, day / self.stretch)


def relative_flux(kind: str, day: float) -> np.ndarray:
    """The flux in g, r, i over that at the peak or on the plateau, [3].

    Parameters
    ----------
    kind : a key of `SHAPES`.
    day : after the peak, rest frame.

    >>> relative_flux("ia", 0.0).round(2).tolist()
    [1.0, 1.0, 1.0]
    >>> relative_flux("ia", 60.0).round(2).tolist(), relative_flux("ii", 60.0).round(2).tolist()
    ([0.05, 0.13, 0.18], [1.0, 1.0, 1.0])
    """
    shape = SHAPES[kind]
    rise, fall = np.array(shape.rise), np.array(shape.fall)
    # Where the product of rise and fall is largest (Bazin et al. 2009, equation 1), counted from the middle of the
    # rise.
    peak = rise * np.log(np.maximum(fall / rise - 1, 1e-9))
    time = day + peak
    after = np.maximum(time - peak - shape.plateau, 0) if shape.plateau else time
    with np.errstate(over="ignore"):
        found = np.exp(-after / fall) / (1 + np.exp(-time / rise))
        # A plateau is itself the peak.
        largest = 1.0 if shape.plateau else np.exp(-peak / fall) / (1 + np.exp(-peak / rise))
    return found / largest


def draw_light_curve(kind: str, redshift: float, rng: np.random.Generator, peak: float | None = None) -> LightCurve:
    """One supernova of a class.

    Parameters
    ----------
    kind : a key of `SHAPES`.
    redshift : of its host.
    rng : random numbers.
    peak : its magnitude in r at the peak; by default drawn, and dimmed by its distance.

    Raises
    ------
    InputError : the redshift is not positive.
    """
    if not redshift > 0:
        raise InputError(f"A supernova needs a redshift above 0, not {redshift:g}.")
    shape = SHAPES[kind]
    absolute = shape.peak + shape.scatter * rng.standard_normal()
    stretch = float(np.exp(shape.stretch * rng.standard_normal())) * (1 + redshift)
    r = absolute + float(Planck18.distmod(redshift).value) if peak is None else peak
    return LightCurve(kind, r + np.array([shape.colours[0], 0.0, -shape.colours[1]]), stretch)


def draw_kind(wanted: str, rng: np.random.Generator) -> str:
    """A class of supernovae: a key of `SHAPES`.

    Parameters
    ----------
    wanted : one of `TYPES`.
    rng : random numbers.
    """
    if wanted not in TYPES:
        raise InputError(f"Unknown type of supernova '{wanted}'; use {', '.join(TYPES)}.")
    if wanted == "ia" or (wanted == "mixed" and rng.random() < IA_OF_MIXED):
        return "ia"
    return "ii" if rng.random() < TYPE_II else "ibc"
