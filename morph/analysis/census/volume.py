"""Weights 1/Vmax: a galaxy counts as many times as the volume in which it would be seen fits into the largest.

Schmidt (1968): a magnitude-limited sample holds bright galaxies from a larger volume than faint ones. Vmax is the
comoving volume between the nearest redshift of the galaxy's bin and the redshift at which its magnitude would reach
the limit, or the bin's farthest one. Magnitudes are taken as they are: there is no K correction.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from morph.errors import InputError

#: The cosmology unless another is asked for.
COSMOLOGY = "Planck18"

#: Redshifts at which distances are tabulated, and the farthest of them.
STEPS, FARTHEST = 4000, 12.0


def find_cosmology(name: str) -> Any:
    """A cosmology of astropy by its name. InputError lists those that there are."""
    from astropy import cosmology

    known = cosmology.available
    found = next((each for each in known if each.lower() == name.lower()), None)
    if found is None:
        raise InputError(f"There is no cosmology '{name}'; astropy has {', '.join(known)}.")
    return getattr(cosmology, found)


@dataclass(frozen=True)
class Volume:
    """Weights 1/Vmax of galaxies in a sample limited in magnitude.

    Attributes
    ----------
    limit : the faintest magnitude of the sample.
    cosmology : name of one of astropy's.
    """

    limit: float
    cosmology: str = COSMOLOGY

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Redshift, distance modulus and comoving volume of the whole sky (Gpc3)."""
        cosmology = find_cosmology(self.cosmology)
        z = np.expm1(np.linspace(np.log1p(1e-5), np.log1p(FARTHEST), STEPS))
        return z, cosmology.distmod(z).value, cosmology.comoving_volume(z).to_value("Gpc3")

    def weights(self, magnitude: np.ndarray, redshift: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """1/Vmax of each galaxy, 1/Gpc3 of the whole sky; 0 where it is fainter than the limit or lacks a value.

        Parameters
        ----------
        magnitude, redshift : [n].
        low, high : the redshifts between which the galaxy counts, [n] or one for all.
        """
        z, modulus, volume = self._table
        usable = np.isfinite(magnitude) & np.isfinite(redshift) & (redshift > 0) & (magnitude <= self.limit)
        seen = np.where(usable, redshift, 0.1)
        farthest = np.interp(np.interp(seen, z, modulus) + self.limit - np.where(usable, magnitude, 0), modulus, z)
        within = np.interp(np.minimum(farthest, high), z, volume) - np.interp(np.maximum(low, 0), z, volume)
        return np.where(usable & (within > 0), 1 / np.maximum(within, 1e-12), 0.0)
